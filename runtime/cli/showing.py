"""A run as `etude show` tells it: stages, curves of trainings, and one stage in full."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from etude.compiler.draw.picture import TIMES
from etude.compiler.draw.repeats import stem
from etude.compiler.render.ansi import Paint
from etude.runtime.cli.faults import UsageError
from etude.runtime.cli.selection import is_named, is_stemmed, matches
from etude.runtime.events import read_events
from etude.runtime.histories import COUNTED, History, columns_of, histories_told
from etude.runtime.naming import shown_output
from etude.runtime.progress.durations import duration_text, speed_text
from etude.runtime.progress.plain import QUIET
from etude.runtime.progress.sparklines import sparkline
from etude.runtime.progress.state import metrics_text, shown_columns, value_text
from etude.runtime.report.classes import HEADS, PORT, confusions, summary_text
from etude.runtime.report.numbers import column_texts, number_text
from etude.runtime.runs import Run, file_names
from etude.runtime.store import Store, StoreError

Json = Any
Stage = Mapping[str, Json]
MOST_LINES, MOST_TRAININGS, MOST_ROWS = 40, 8, 12
WORDS = {"run": "run", "cached": "in the store"}


def head_line(run: Run, paint: Paint) -> str:
    """`recipe.etude: finished, 21 November 2026 12:28`."""
    manifest = run.manifest or {}
    started = datetime.datetime.fromtimestamp(manifest["started"]) if "started" in manifest else None
    when = f", {started:%d %B %Y %H:%M}" if started else ""
    return paint(f"{run.recipe or run.id}: {run.status}{when}", "bold")


def stage_lines(stages: Sequence[Stage], store: Store, paint: Paint) -> Iterator[str]:
    """A table of the stages that take time, members of a sweep in one line."""
    groups: dict[tuple[str, str, str], list[Stage]] = {}
    for stage in stages:
        if stage["kind"] not in QUIET or stage["action"] in ("failed", "skipped"):
            groups.setdefault((stem(stage["name"]), stage["kind"], stage["action"]), []).append(stage)
    rows = [_group_row(members, store) for members in groups.values()]
    yield from _aligned(("stage", "kind", "", "time", "result"), rows[:MOST_LINES], paint)
    if len(rows) > MOST_LINES:
        yield paint(f"  … {len(rows) - MOST_LINES} more in the report", "grey")


def _group_row(members: Sequence[Stage], store: Store) -> tuple[str, ...]:
    first = members[0]
    name = first["name"] if len(members) == 1 else f"{stem(first['name'])} {TIMES}{len(members)}"
    seconds = sum(stage["seconds"] for stage in members)
    action = str(WORDS.get(first["action"], first["action"]))
    return name, first["kind"], action, duration_text(seconds), _results_text(members, store)


def _results_text(members: Sequence[Stage], store: Store) -> str:
    """What came out of a stage, or the range of it over the members of a sweep."""
    if len(members) > 1 and members[0]["kind"] == "train" and members[0]["action"] in ("run", "cached"):
        histories = [read_value(store, stage, "history") for stage in members]
        return ranges_text([history[-1] for history in histories if history])
    results = list(dict.fromkeys(filter(None, (result_text(stage, store) for stage in members))))
    return results[0] if len(results) == 1 else f"{results[0]} … {results[-1]}" if results else ""


def ranges_text(rows: Sequence[Mapping[str, Json]]) -> str:
    """The figures that people look for, from the lowest to the highest.

    >>> ranges_text([{"loss": 0.5}, {"loss": 0.25, "valid.accuracy": 0.9}])
    'loss 0.25…0.5, valid.accuracy 0.9'
    """
    parts = []
    for name in dict.fromkeys(name for row in rows for name in shown_columns(row)):
        values = sorted(row[name] for row in rows if isinstance(row.get(name), int | float))
        if values:
            low, high = f"{values[0]:.4g}", f"{values[-1]:.4g}"
            parts.append(f"{name} {low}" if low == high else f"{name} {low}…{high}")
    return ", ".join(parts)


def result_text(stage: Stage, store: Store) -> str:
    """What came out of a stage, in a few words."""
    if stage["action"] in ("failed", "skipped"):
        reason = (stage.get("failure") or {}).get("message") or stage.get("reason") or ""
        return next(iter(str(reason).splitlines()), "")
    if stage["action"] in ("running", "cut off", "stopped"):
        at = f"step {stage['step']} of {stage['steps']}" if "steps" in stage else ""
        kept = f"kept up to step {stage['kept']}" if stage.get("kept") not in (None, stage.get("step")) else ""
        return ", ".join(filter(None, (at, kept)))
    if stage["kind"] == "train":
        history = read_value(store, stage, "history")
        return metrics_text(history[-1]) if history else ""
    if stage["kind"] in ("measure", "compute"):
        return value_text(read_value(store, stage, "value"))
    rows = stage["made"].get("rows")
    return f"{rows:,} rows" if isinstance(rows, int) else ""


def read_value(store: Store, stage: Stage, port: str) -> Json:
    """A JSON output of a stage under the names of its recipe, None where the store does not have it any more."""
    hash = stage["outputs"].get(port)
    try:
        return None if hash is None else shown_output(port, store.read_json(hash), stage.get("names"))
    except (StoreError, OSError):
        return None


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]], paint: Paint) -> Iterator[str]:
    """Columns side by side; the time stands to the right."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    for number, row in enumerate([heads, *rows]):
        cells = [f"{c:>{w}}" if head == "time" else f"{c:<{w}}" for c, w, head in zip(row, widths, heads, strict=True)]
        line = "  " + "  ".join(cells).rstrip()
        yield line if number else paint(line, "grey")


def curve_lines(stages: Sequence[Stage], store: Store, paint: Paint, events: Path) -> Iterator[str]:
    """Each training with a line for every column of its history."""
    trainings = [stage for stage in stages if stage["kind"] == "train" and stage["action"] != "skipped"]
    for stage in trainings[:MOST_TRAININGS]:
        history = stage_history(stage, store, events)
        if history:
            yield f"{paint(stage['name'], 'bold')}  {speed_text(stage['made'])}".rstrip()
            yield from history_lines(history)
    if len(trainings) > MOST_TRAININGS:
        yield paint(f"… {len(trainings) - MOST_TRAININGS} more trainings: --stage NAME shows them", "grey")


def stage_history(stage: Stage, store: Store, events: Path) -> History:
    """The history that a training left; of one that did not come to its end, what it told on the way."""
    history = read_value(store, stage, "history")
    return history if history is not None else histories_told(events).get(stage["name"], [])


def history_lines(history: History, width: int = 32) -> Iterator[str]:
    """`loss  ▇▅▃▁  2.28 → 0.434`, for every column."""
    names = [name for name in columns_of(history) if name not in COUNTED]
    pad = max(map(len, names), default=0)
    for name in names:
        values = [row.get(name) for row in history if name in row]
        first, last = number_text(values[0]), number_text(values[-1])
        ends = last if len(values) == 1 else f"{first} → {last}"
        yield f"  {name:<{pad}}  {sparkline(values, width):<{min(width, len(history))}}  {ends}"


def picture_lines(folder: Path) -> list[str]:
    """Where the pictures of the report are."""
    return [f"picture: {path}" for path in sorted((folder / "report").glob("*.png"))]


def chosen_stages(stages: Sequence[Stage], pattern: str) -> list[Stage]:
    """The stages that are meant, by the rules of `selection.select_stages`. Raises UsageError for none."""
    for test in (is_named, is_stemmed, matches):
        found = [stage for stage in stages if test(stage["name"], pattern)]
        if found:
            return found
    import difflib

    names = [stage["name"] for stage in stages]
    close = difflib.get_close_matches(pattern, [*names, *map(stem, names)], 1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(names[:12])}"
    raise UsageError(f"the run has no stage '{pattern}'", hint=hint)


def detail_lines(stage: Stage, stages: Sequence[Stage], store: Store, folder: Path, paint: Paint) -> Iterator[str]:
    """All there is to know of one stage."""
    yield paint(f"{stage['name']} ({stage['kind']})", "bold")
    action = WORDS.get(stage["action"], stage["action"])
    yield f"  {action}, {duration_text(stage['seconds'])}" + (f", key {stage['key']}" if stage["key"] else "")
    failure = stage.get("failure") or {}
    told = [("reason", stage.get("reason")), *failure.items()]
    yield from (f"  {name}: {value}".replace("\n", "\n    ") for name, value in told if value)
    for port, hash in stage["outputs"].items():
        yield f"  output {port}: {hash}"
    for name, value in _flat_facts("", stage["made"]):
        yield f"  {name}: {number_text(value)}"
    source = folder / "source" / f"{file_names(each['name'] for each in stages)[stage['name']]}.py"
    if source.exists():
        yield f"  source: {source}"
    if stage["kind"] == "train":
        yield from _training_lines(stage, store, folder, paint)
    elif "value" in stage["outputs"]:
        yield f"  value: {value_text(read_value(store, stage, 'value'))}"
        yield from _class_lines(stage, store, paint)
    elif speed := speed_text(stage["made"]):
        yield f"  speed: {speed}"


def _training_lines(stage: Stage, store: Store, folder: Path, paint: Paint) -> Iterator[str]:
    history = stage_history(stage, store, folder / "events.jsonl")
    speed = speed_text(stage["made"])
    yield from [f"  speed: {speed}"] if speed else []
    yield from history_lines(history, 60)
    if history:
        yield from history_table(history, paint)


def _class_lines(stage: Stage, store: Store, paint: Paint) -> Iterator[str]:
    """The classes of what a measure compared with a label, each with its rows, precision, recall and F1."""
    for each in confusions(stage["name"], read_value(store, stage, PORT) or []):
        yield f"  {each.names[0]}: {summary_text(each)}"
        columns = [column_texts(column) for column in zip(*each.table(), strict=True)]
        widths = [max(map(len, [head, *column])) for head, column in zip(HEADS, columns, strict=True)]
        for number, row in enumerate([HEADS, *zip(*columns, strict=True)]):
            line = f"  {row[0]:<{widths[0]}}  " + "  ".join(
                f"{c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True)
            )
            yield line if number else paint(line, "grey")


def history_table(history: History, paint: Paint) -> Iterator[str]:
    """The rows of a history; of a long one, some between the first and the last."""
    count = min(len(history), MOST_ROWS)
    places = [round(i * (len(history) - 1) / max(count - 1, 1)) for i in range(count)]
    names = columns_of(history)
    columns = [column_texts([history[place].get(name) for place in places]) for name in names]
    widths = [max(map(len, [name, *column])) for name, column in zip(names, columns, strict=True)]
    yield paint("  " + "  ".join(f"{name:>{w}}" for name, w in zip(names, widths, strict=True)), "grey")
    for row in zip(*columns, strict=True):
        yield "  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
    if len(history) > count:
        yield paint(f"  {count} of {len(history)} rows", "grey")


def _flat_facts(path: str, value: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat_facts(f"{path}.{name}" if path else str(name), inner)
    elif not isinstance(value, list):
        yield path, value


def unfinished_stages(events: Path, *, is_over: bool) -> list[Stage]:
    """The stages of a run without a manifest, as far as its events tell."""
    actions = {"stage-finished": "run", "stage-cached": "cached", "stage-failed": "failed", "stage-skipped": "skipped"}
    actions["stage-stopped"] = "stopped"
    stages: dict[str, dict[str, Json]] = {}
    for event in read_events(events) if events.exists() else []:
        if "stage" not in event:
            continue
        stage = stages.setdefault(
            event["stage"], {"id": event["stage"], "name": event["name"], "kind": "", "key": None}
        )
        stage["action"] = actions.get(event["kind"], stage.get("action", "cut off" if is_over else "running"))
        stage |= {key: event[key] for key in ("outputs", "made", "seconds", "key", "names") if key in event}
        if "message" in event and event["kind"] == "stage-failed":
            stage["failure"] = {"message": event["message"]}
        if event["kind"] in ("stage-progress", "stage-continued", "stage-stopped") and event.get("steps"):
            stage |= {"kind": "train", "step": event["step"], "steps": event["steps"]}
        if event["kind"] in ("stage-kept", "stage-continued"):
            stage["kept"] = event["step"]
        if "history" in event or "history" in event.get("outputs", {}):
            stage["kind"] = "train"
    return [{"seconds": 0.0, "outputs": {}, "made": {}, **stage} for stage in stages.values()]
