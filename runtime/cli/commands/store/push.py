"""Send runs to the second store, with every result that they need and that is not there.

Runs elsewhere that name it with --remote, or in etude.toml, find these results as their own.
"""

from __future__ import annotations

from etude.runtime.cli import faults
from etude.runtime.cli.options import argument, flag
from etude.runtime.cli.stores import RemoteOptions, answer, count_text, existing_store, refuse_none_named, size_text

EXAMPLES = (
    ("etude store push last --remote s3://bucket/etude", "Send the last run to a bucket."),
    ("etude store push --all", "Send all runs to the second store that etude.toml names."),
)


class Options(RemoteOptions):
    runs: tuple[str, ...] = argument(
        "the runs: ids, starts of ids, or last (the default)", metavar="RUN", many=True, default=()
    )
    all: bool = flag("send all runs that came to their end")
    verify: bool = flag("read what is there already, and send again what is damaged")


def run(options: Options) -> int:
    from etude.runtime.runs import find_run, list_runs
    from etude.runtime.store.transfer import push_run

    store = existing_store(options)
    refuse_none_named(store)
    if options.all:
        names = [run.id for run in list_runs(store) if run.manifest is not None]
    else:
        names = [find_run(store, run).id for run in options.runs or ("last",)]
    sent = [push_run(store, name, verify=options.verify) for name in names]
    lines = [f"run {s.run} sent: {count_text(s.objects, 'new object')}, {size_text(s.bytes)}" for s in sent]
    answer(options, {"runs": [each.__dict__ for each in sent]}, "\n".join(lines) or "there are no runs to send")
    return faults.OK
