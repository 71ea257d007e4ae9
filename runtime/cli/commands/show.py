"""Show what a run came to: its claims, metrics, failures, and where its report is.

A run is named by its id or the start of one; without a name the last one is shown.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from etude.runtime.cli import faults
from etude.runtime.cli.execution import DEFAULT_STORE, store_to_read
from etude.runtime.cli.options import argument, flag, option
from etude.runtime.cli.terminal import paint_for, print_json

EXAMPLES = (
    ("etude show", "Show the last run."),
    ("etude show 20261120-1 --json", "Show the run whose id starts so, as one JSON object."),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    run: str = argument("the run: its id, or the start of one", metavar="RUN", default="last")
    store: Path = option("where results are kept", metavar="DIR", default=DEFAULT_STORE, parse=Path)
    json: bool = flag("print one JSON object")


def run(options: Options) -> int:
    from etude.runtime.cli.outcome import manifest_lines
    from etude.runtime.runs import find_run

    with store_to_read(options.store) as store:
        if options.run == "last" and not any(store.runs.iterdir()):
            raise faults.UsageError(f"there are no runs in {options.store}", hint="`etude run FILE` makes one")
        found = find_run(store, options.run)
    report = found.folder / "report" / "index.html"
    manifest = dict(found.manifest or {"run": found.id})
    manifest |= {
        "status": found.status,
        "folder": str(found.folder),
        "report": str(report) if report.exists() else None,
    }
    if options.json:
        print_json(manifest)
        return faults.OK
    paint = paint_for(sys.stdout)
    if found.manifest is None:
        print(f"run {found.id} is {found.status}; what it finished is in the store, and the next run picks up there")
        return faults.OK
    print(paint(f"{manifest['recipe']}: {found.status}", "bold"))
    print("\n".join(manifest_lines(manifest, paint)))
    return faults.OK
