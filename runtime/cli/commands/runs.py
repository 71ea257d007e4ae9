"""List the runs in a store, the latest first."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.runtime.cli import faults
from etude.runtime.cli.execution import DEFAULT_STORE, store_to_read
from etude.runtime.cli.options import OptionSet, flag, option
from etude.runtime.cli.terminal import paint_for, print_json
from etude.runtime.progress.durations import duration_text

if TYPE_CHECKING:
    from etude.runtime.runs import Run

EXAMPLES = (
    ("etude runs", "List the latest runs."),
    ("etude runs --all --json", "List all runs, as one JSON object."),
)
FEW = 20
STATUS_STYLES = {"finished": "green", "failed": "red", "interrupted": "yellow", "running": "cyan"}


class Options(OptionSet):
    store: Path = option("where results are kept", metavar="DIR", default=DEFAULT_STORE, parse=Path)
    all: bool = flag("list all, not only the latest")
    json: bool = flag("print one JSON object")


def run(options: Options) -> int:
    from etude.runtime.runs import list_runs

    with store_to_read(options.store) as store:
        found = list_runs(store)
    shown = found if options.all or options.json else found[:FEW]
    if options.json:
        print_json({"store": str(options.store), "runs": [_to_json(each) for each in shown]})
        return faults.OK
    if not found:
        print(f"there are no runs in {options.store}")
    paint = paint_for(sys.stdout)
    for each in shown:
        status = paint(f"{each.status:<11}", STATUS_STYLES[each.status])
        print(f"{each.id}  {status}  {_summary(each.manifest) or _progress(each)}".rstrip())
    if len(shown) < len(found):
        print(paint(f"{len(found) - len(shown)} more with --all", "grey"))
    return faults.OK


def _to_json(found: Run) -> dict[str, Any]:
    manifest = found.manifest or {}
    kept = ("backend", "target", "executed", "cached", "failed", "skipped", "started", "seconds")
    verdicts = [claim["verdict"] for claim in manifest.get("claims", [])]
    facts = {"recipe": found.recipe, **{name: manifest.get(name) for name in kept}}
    return {"run": found.id, "status": found.status, **facts, "claims": verdicts, "folder": str(found.folder)}


def _summary(manifest: Mapping[str, Any] | None) -> str:
    if manifest is None:
        return ""
    verdicts = [claim["verdict"] for claim in manifest["claims"]]
    claims = ", ".join(f"{verdicts.count(v)} {v}" for v in ("holds", "fails", "cannot tell") if v in verdicts)
    work = f"{manifest['executed']} run, {manifest['cached']} cached, {duration_text(manifest['seconds'])}"
    return "  ".join(part for part in (Path(manifest["recipe"]).name, manifest["backend"], work, claims) if part)


def _progress(found: Run) -> str:
    """How far a run is that has not come to its end."""
    from etude.runtime.cli.showing import unfinished_stages

    stages = unfinished_stages(found.folder / "events.jsonl", is_over=found.status != "running")
    done = sum(stage["action"] in ("run", "cached") for stage in stages)
    at = [f"{stage['name']} at step {stage['step']} of {stage['steps']}" for stage in stages if _is_under_way(stage)]
    name = f"{Path(found.recipe).name}  " if found.recipe else ""
    more = [f"{len(at) - 2} more"] if len(at) > 2 else []
    return name + ", ".join([f"{done} stage{'s' * (done != 1)} done", *at[:2], *more])


def _is_under_way(stage: Mapping[str, Any]) -> bool:
    return stage["action"] in ("running", "cut off", "stopped") and "steps" in stage
