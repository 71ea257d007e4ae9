"""Remove what nothing needs any more.

Kept are pinned runs, runs at work, the last ones and the young ones, and with them every result that they name. What
was written within the last hour stays, too. A result that is removed is only made anew when a run asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from etude.runtime.cli import faults
from etude.runtime.cli.options import flag, option
from etude.runtime.cli.stores import StoreOptions, answer, count_text, existing_store, size_text

EXAMPLES = (
    ("etude store gc --dry-run", "Say what would be removed, with sizes."),
    ("etude store gc --last 3 --days 0", "Keep the last three runs and the pinned ones, whatever their age."),
)


class Options(StoreOptions):
    last: int = option("keep so many of the latest runs (default: 10)", metavar="N", default=10, parse=int)
    days: float = option("keep runs of the last days (default: 30)", metavar="DAYS", default=30.0, parse=float)
    dry_run: bool = flag("only say what would be removed")


def run(options: Options) -> int:
    from etude.runtime.store.garbage import find_garbage, remove_garbage

    if options.last < 0 or options.days < 0:
        raise faults.UsageError("--last and --days must be at least 0")
    store = existing_store(options)
    garbage = find_garbage(store, last=options.last, days=options.days)
    if not options.dry_run:
        remove_garbage(store, garbage)
    found = {**garbage.to_json(), "dry_run": options.dry_run}
    answer(options, found, "\n".join(_lines(found, options.dry_run)))
    return faults.OK


def _lines(found: dict[str, object], is_dry: bool) -> Iterator[str]:
    removed, kept = found["removed"], found["runs_kept"]
    assert isinstance(removed, dict) and isinstance(kept, dict)
    for name, part in removed.items():
        if part["count"]:
            noun = {"scratch": "leftover file", "partial": "unfinished training"}.get(name, name[:-1])
            yield f"  {count_text(part['count'], noun)}, {size_text(part['bytes'])}"
    total = sum(part["bytes"] for part in removed.values())
    young = found["young"]
    assert isinstance(young, dict)
    if young["count"]:
        hour = "less than an hour old, as a run may be about to name them"
        yield f"  left alone: {count_text(young['count'], 'object')}, {size_text(young['bytes'])}, {hour}"
    done = "would be removed" if is_dry else "removed"
    yield f"{size_text(total)} {done}; {count_text(len(kept), 'run')} kept"
