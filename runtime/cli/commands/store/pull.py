"""Bring runs here from the second store, with every result that they need.

Each object is hashed on its way in. A run of a recipe needs no pull: it takes from the second store what it needs.
"""

from __future__ import annotations

from etude.runtime.cli import faults
from etude.runtime.cli.options import argument, flag
from etude.runtime.cli.stores import RemoteOptions, answer, count_text, existing_store, refuse_none_named

EXAMPLES = (
    ("etude store pull 20261120-101500.000000-1a2b --remote s3://bucket/etude", "Bring a run from a bucket."),
    ("etude store pull --all", "Bring all runs of the second store that etude.toml names."),
)


class Options(RemoteOptions):
    runs: tuple[str, ...] = argument("the runs, by their ids", metavar="RUN", many=True, default=())
    all: bool = flag("bring all runs")


def run(options: Options) -> int:
    from etude.runtime.store.transfer import pull_run, runs_of, second_store

    store = existing_store(options, make=True)
    refuse_none_named(store)
    known = runs_of(second_store(store))
    if not options.runs and not options.all:
        hint = f"there are {', '.join(known[-5:]) or 'none'}"
        raise faults.UsageError("expected the ids of runs, or --all", command="etude store pull", hint=hint)
    missing = [run for run in options.runs if run not in known]
    if missing and not options.all:
        hint = f"the latest there are {', '.join(known[-5:])}" if known else "there are none"
        raise faults.UsageError(f"the second store has no run '{missing[0]}'", hint=hint)
    brought = [pull_run(store, run) for run in (known if options.all else options.runs)]
    lines = [f"run {each.run} is here: {count_text(each.records, 'result')}" for each in brought]
    answer(options, {"runs": [each.__dict__ for each in brought]}, "\n".join(lines) or "there are no runs to bring")
    return faults.OK
