"""Bring a run here from a file that `etude store export` wrote.

Every object is hashed on its way in, and nothing can be seen before all has been read. That a record tells the truth
about how its results came about cannot be checked: import what you would run.
"""

from __future__ import annotations

from pathlib import Path

from etude.runtime.cli import faults
from etude.runtime.cli.options import argument
from etude.runtime.cli.stores import StoreOptions, answer, count_text, existing_store, size_text

EXAMPLES = (
    ("etude store import run.tar", "Bring the run into the store here, which is made if need be."),
    ("etude store import run.tar --store /shared/etude", "Bring it into another store."),
)


class Options(StoreOptions):
    file: Path = argument("the file", metavar="FILE", parse=Path)


def run(options: Options) -> int:
    from etude.runtime.store.archive import import_run

    if not options.file.is_file():
        raise faults.UsageError(f"there is no file {options.file}")
    contents = import_run(existing_store(options, make=True), options.file)
    brought = f"{count_text(contents.objects, 'object')}, {size_text(contents.bytes)}"
    answer(options, contents.__dict__, f"run {contents.run} is here: {brought}; see `etude show {contents.run}`")
    return faults.OK
