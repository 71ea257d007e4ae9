"""What a run came to, as the terminal shows it: claims with their values, results, what failed, where the report is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etude.compiler.draw.picture import TIMES
from etude.compiler.draw.repeats import stem
from etude.compiler.render.ansi import Paint
from etude.runtime.progress.durations import duration_text
from etude.runtime.report.numbers import column_texts, number_text, value_text

if TYPE_CHECKING:
    from etude.runtime.results import RunResult

Json = Any
MARKS = {"holds": ("✓", "bold green"), "fails": ("✗", "bold red"), "cannot tell": ("?", "bold yellow")}
MOST_ROWS, MOST_CHARACTERS = 12, 80  # of a table in the terminal, and of one of its cells
MOST_NAMES, MOST_OTHERS = 12, 3  # of stages that were not run, and of those that failed like another


def outcome_text(result: RunResult, paint: Paint) -> str:
    """Everything that people want to know at the end of a run."""
    lines = [*_tables(result, paint), *manifest_lines(result.to_json(), paint)]
    return "".join(f"{line}\n" for line in lines)


def manifest_lines(run: Mapping[str, Json], paint: Paint) -> Iterator[str]:
    """What the JSON of a run says: failures, claims, metrics, counts."""
    alike: dict[tuple[str, str], list[Mapping[str, Json]]] = {}
    for stage in run["stages"]:
        if stage["action"] == "failed":
            alike.setdefault((stem(stage["name"]), str(stage["failure"]["message"])), []).append(stage)
    for stages in alike.values():
        yield from _failure(stages, paint)
    skipped = [stage["name"] for stage in run["stages"] if stage["action"] == "skipped" and "failure" in stage]
    if skipped:
        yield paint(f"not run, for want of what failed: {_folded(skipped)}", "red")
    for name, value in run["metrics"].items():
        yield f"{paint(name, 'bold')} = {number_text(value) if not isinstance(value, Mapping) else value_text(value)}"
    for claim in run["claims"]:
        yield from _claim(claim, paint)
    yield _summary(run, paint)
    if run.get("report"):
        yield f"report: {run['report']}"


def _folded(names: Sequence[str]) -> str:
    """Names of stages, the members of a sweep as one with their number."""
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(stem(name), []).append(name)
    shown = [each[0] if len(each) == 1 else f"{base} {TIMES}{len(each)}" for base, each in members.items()]
    return ", ".join(shown[:MOST_NAMES]) + (f" and {len(shown) - MOST_NAMES} more" if len(shown) > MOST_NAMES else "")


def _failure(stages: Sequence[Mapping[str, Json]], paint: Paint) -> Iterator[str]:
    """What went wrong with a stage, and which members of its sweep failed in the same way."""
    stage, *others = stages
    failure = stage["failure"]
    first, *rest = str(failure["message"]).splitlines() or [""]
    yield paint("error", "bold red") + paint(f": stage {stage['name']} failed: {first}", "bold")
    yield from (f"  {line}" for line in rest)
    if failure.get("checkpoint"):
        yield f"  last good checkpoint: {failure['checkpoint']}"
    if failure.get("details"):
        yield f"  details: {failure['details']}"
    if others:
        more = f" and {len(others) - MOST_OTHERS} more" if len(others) > MOST_OTHERS else ""
        yield f"  so did {', '.join(other['name'] for other in others[:MOST_OTHERS])}{more}"


def _claim(claim: Mapping[str, Json], paint: Paint) -> Iterator[str]:
    mark, style = MARKS[claim["verdict"]]
    yield paint(f"{mark} {claim['verdict']}", style) + f"  {claim['text']}"
    if claim["because"]:
        yield paint(f"    because {claim['because']}", "grey")
    for text, value in claim["values"].items():
        yield f"    {text} = {value_text(value)}"
    for found in claim["detail"].get("better", ()):
        yield f"    {_comparison(found)}"
    if "message" in claim["detail"]:
        yield f"    {claim['detail']['message']}"


def _comparison(found: Mapping[str, Json]) -> str:
    if found["low"] is None:
        return str(found["reason"])
    bounds = f"{number_text(found['low'])} to {number_text(found['high'])}"
    return (
        f"difference {number_text(found['mean_difference'])}, {bounds} with {found['confidence']:.0%} confidence a "
        f"side, better in {found['wins']} of {found['runs']} runs"
    )


def _summary(run: Mapping[str, Json], paint: Paint) -> str:
    counts = [f"{run['executed']} stage{'s' * (run['executed'] != 1)} run", f"{run['cached']} cached"]
    counts += [f"{run[name]} {name}" for name in ("failed", "skipped") if run.get(name)]
    where = f"{run['backend']} on {run['target']}"
    return paint(f"{', '.join(counts)} in {duration_text(run['seconds'])} ({where}), run {run['run']}", "bold")


def _tables(result: RunResult, paint: Paint) -> Iterator[str]:
    """The tables and numbers of the recipe's report."""
    for name, ref in result.workflow.report:
        kind, value = result.workflow.stages[ref.stage].kind, result.value(ref)
        if value is None or kind in ("plot", "heatmap", "images") or result.metrics.get(name) == value:
            continue  # drawn, or said with the metrics
        if kind in ("table", "texts"):
            yield paint(name, "bold")
            yield from _table(value, paint)
        else:
            yield f"{paint(name, 'bold')} = {value_text(value)}"


def _table(table: Json, paint: Paint) -> Iterator[str]:
    rows = table["rows"][:MOST_ROWS]
    columns = [_aligned(name, [row[i] for row in rows]) for i, name in enumerate(table["columns"])]
    for number, row in enumerate(zip(*columns, strict=True)):
        line = "  " + "  ".join(row).rstrip()
        yield paint(line, "grey") if number == 0 else line
    if len(table["rows"]) > MOST_ROWS:
        yield paint(f"  … {len(table['rows']) - MOST_ROWS} more rows in the report", "grey")


def _aligned(name: str, values: Sequence[Json]) -> list[str]:
    """A column under its name: numbers end at the right, texts begin at the left, each on one line."""
    cells = [name, *map(_line, column_texts(values))]
    width = max(map(len, cells))
    left = any(isinstance(value, str) for value in values)
    return [cell.ljust(width) if left else cell.rjust(width) for cell in cells]


def _line(text: str) -> str:
    line = text.replace("\n", "⏎").replace("\t", " ")
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"
