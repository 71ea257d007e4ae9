"""Write a run into one file: its folder, the records of its stages, and every object that they need.

`etude store import` brings it into another store, where runs find its results as their own.
"""

from __future__ import annotations

from pathlib import Path

from etude.runtime.cli import faults
from etude.runtime.cli.options import argument, option
from etude.runtime.cli.stores import StoreOptions, answer, count_text, existing_store, size_text

EXAMPLES = (
    ("etude store export last -o run.tar", "Write the last run into run.tar."),
    ("etude store export 20261120-1", "Write the run whose id starts so into a file of its own name."),
)


class Options(StoreOptions):
    run: str = argument("the run: its id, the start of one, or last", metavar="RUN")
    output: Path | None = option("the file (default: the run's id, .tar)", metavar="FILE", short="-o", parse=Path)


def run(options: Options) -> int:
    from etude.runtime.runs import find_run
    from etude.runtime.store.archive import export_run

    store = existing_store(options)
    found = find_run(store, options.run)
    target = options.output or Path(f"{found.id}.tar")
    target.parent.mkdir(parents=True, exist_ok=True)
    contents = export_run(store, found.id, target)
    text = f"{target}: run {found.id}, {count_text(contents.objects, 'object')}, {size_text(contents.bytes)}"
    answer(options, {**contents.__dict__, "file": str(target)}, text)
    return faults.OK
