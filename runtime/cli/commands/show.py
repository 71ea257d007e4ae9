"""Show what a run came to: its stages, how its trainings went, its metrics, claims and failures.

A run is named by its id or the start of one; without a name the last one is shown, also while it is running.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.compiler.render.ansi import Paint
from etude.runtime.cli import faults
from etude.runtime.cli.execution import DEFAULT_STORE, store_to_read
from etude.runtime.cli.options import OptionSet, argument, flag, option
from etude.runtime.cli.terminal import paint_for, print_json

if TYPE_CHECKING:
    from etude.runtime.runs import Run
    from etude.runtime.store import Store

Json = Any
EXAMPLES = (
    ("etude show", "Show the last run."),
    ("etude show 20261120-1 --json", "Show the run whose id starts so, as one JSON object."),
    ("etude show --stage teacher", "Show all that is known of one stage: facts, curves, the history."),
)


class Options(OptionSet):
    run: str = argument("the run: its id, or the start of one", metavar="RUN", default="last")
    stage: str | None = option("show only this stage, or those of a glob, in full", metavar="NAME")
    store: Path = option("where results are kept", metavar="DIR", default=DEFAULT_STORE, parse=Path)
    json: bool = flag("print one JSON object")


def run(options: Options) -> int:
    from etude.runtime.runs import find_run

    with store_to_read(options.store) as store:
        if options.run == "last" and not any(store.runs.iterdir()):
            raise faults.UsageError(f"there are no runs in {options.store}", hint="`etude run FILE` makes one")
        found = find_run(store, options.run)
        stages = _stages(found)
        if options.stage is not None:
            from etude.runtime.cli.showing import chosen_stages

            stages = chosen_stages(stages, options.stage)
        if options.json:
            print_json(_json(found, stages, store, in_full=options.stage is not None))
            return faults.OK
        for line in _lines(found, stages, store, paint_for(sys.stdout), in_full=options.stage is not None):
            print(line)
    return faults.OK


def _stages(found: Run) -> Sequence[Json]:
    from etude.runtime.cli.showing import unfinished_stages

    if found.manifest is not None:
        return list(found.manifest["stages"])
    return unfinished_stages(found.folder / "events.jsonl", is_over=found.status != "running")


def _lines(found: Run, stages: Sequence[Json], store: Store, paint: Paint, *, in_full: bool) -> Iterator[str]:
    from etude.runtime.cli import showing
    from etude.runtime.cli.outcome import manifest_lines

    if in_full:
        for stage in stages:
            yield from showing.detail_lines(stage, _stages(found), store, found.folder, paint)
        return
    yield showing.head_line(found, paint)
    yield from showing.stage_lines(stages, store, paint)
    yield from showing.curve_lines(stages, store, paint, found.folder / "events.jsonl")
    if found.manifest is None:
        yield f"run {found.id} is {found.status}; what it finished is in the store, and the next run picks up there"
        return
    yield from showing.picture_lines(found.folder)
    yield from manifest_lines({**found.manifest, "report": _report(found)}, paint)


def _json(found: Run, stages: Sequence[Json], store: Store, *, in_full: bool) -> dict[str, Json]:
    """The manifest with where things are; of chosen stages also the history or value of each."""
    from etude.runtime.cli.showing import read_value, stage_history
    from etude.runtime.report.classes import PORT

    place = {"status": found.status, "folder": str(found.folder), "report": _report(found)}
    if not in_full:
        return {**(found.manifest or {"run": found.id, "stages": stages}), **place}
    events = found.folder / "events.jsonl"
    full = []
    for stage in stages:
        history = stage_history(stage, store, events) if stage["kind"] == "train" else None
        value, confusion = read_value(store, stage, "value"), read_value(store, stage, PORT)
        full.append({**stage, "history": history, "value": value, "confusion": confusion})
    return {"run": found.id, "stages": full, **place}


def _report(found: Run) -> str | None:
    report = found.folder / "report" / "index.html"
    return str(report) if report.exists() else None
