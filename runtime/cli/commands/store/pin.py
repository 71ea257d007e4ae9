"""Keep a run, with every result that it needs, whatever `gc` removes."""

from __future__ import annotations

from etude.runtime.cli import faults
from etude.runtime.cli.options import argument, option
from etude.runtime.cli.stores import StoreOptions, answer, existing_store

EXAMPLES = (
    ("etude store pin last", "Keep the last run."),
    ('etude store pin 20261120-1 --note "the one in the paper"', "Keep the run whose id starts so, and say why."),
)


class Options(StoreOptions):
    run: str = argument("the run: its id, the start of one, or last", metavar="RUN")
    note: str | None = option("why it is kept", metavar="TEXT")


def run(options: Options) -> int:
    from etude.runtime.runs import find_run

    store = existing_store(options)
    found = find_run(store, options.run)
    store.pins.add(found.id, options.note)
    answer(options, {"run": found.id, "pinned": True, "note": options.note}, f"run {found.id} is pinned")
    return faults.OK
