"""Read every object and record of the store again, and say what is damaged or missing.

What is damaged is moved out of the way; the next run that needs it makes it anew. The exit code is 4 when anything was
found. A run checks by itself what it reads: this is for what it does not.
"""

from __future__ import annotations

import sys

from etude.runtime.cli import faults
from etude.runtime.cli.stores import StoreOptions, answer, count_text, existing_store, size_text, tell

EXAMPLES = (
    ("etude store verify", "Check the store here."),
    ("etude store verify --json", "Check it, and name every object and stage that is lost as JSON."),
)


class Options(StoreOptions):
    pass


def run(options: Options) -> int:
    from etude.runtime.store.inspection import verify_store

    store = existing_store(options)
    found = verify_store(store, lambda done, all: tell(f"{done:,}/{all:,} objects") if done % 100 == 0 else None)
    tell("")
    checked = f"{count_text(found.objects, 'object')} ({size_text(found.bytes)}), {count_text(found.records, 'record')}"
    lines = [f"{checked}: " + ("all sound" if found.is_sound else "not all is sound")]
    lines += [f"  damaged: object {hash}" for hash in found.damaged]
    lines += [f"  missing: object {hash}" for hash in found.missing]
    lines += [f"  damaged: record {key}" for key in found.unreadable]
    lines += [f"  damaged: index {name}, which is made again by itself" for name in found.indexes]
    if found.stages or found.unreadable:
        count = len(found.stages) + len(found.unreadable)
        lines.append(f"the next run that needs them makes {count_text(count, 'result')} anew")
    answer(options, found.to_json(), "\n".join(lines))
    sys.stdout.flush()
    return faults.OK if found.is_sound else faults.STAGE_FAILED
