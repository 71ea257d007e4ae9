"""Keep a run no longer than others."""

from __future__ import annotations

from etude.runtime.cli import faults
from etude.runtime.cli.options import argument
from etude.runtime.cli.stores import StoreOptions, answer, existing_store

EXAMPLES = (
    ("etude store unpin 20261120-1", "Let `gc` remove the run whose id starts so, when its time has come."),
    ("etude store unpin last --json", "The same for the last run, with the answer as JSON."),
)


class Options(StoreOptions):
    run: str = argument("the run: its id, the start of one, or last", metavar="RUN")


def run(options: Options) -> int:
    from etude.runtime.runs import find_run

    store = existing_store(options)
    found = find_run(store, options.run)
    was = store.pins.remove(found.id)
    text = f"run {found.id} is no longer pinned" if was else f"run {found.id} was not pinned"
    answer(options, {"run": found.id, "pinned": False, "was_pinned": was}, text)
    return faults.OK
