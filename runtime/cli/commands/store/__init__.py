"""Look after the store: how large it is; below, what checks, cleans and moves it.

`verify` reads everything again, `gc` removes what nothing needs any more, `pin` and `unpin` say which runs stay,
`export` and `import` move a run as one file, `push` and `pull` exchange runs with a second store. Each has a --help.
"""

from __future__ import annotations

from etude.runtime.cli import faults
from etude.runtime.cli.stores import StoreOptions, answer, count_text, existing_store, size_text

EXAMPLES = (
    ("etude store", "Say what is in the store here, and how large it is."),
    ("etude store --store /shared/etude --json", "Say it of another store, as one JSON object."),
)


class Options(StoreOptions):
    pass


def run(options: Options) -> int:
    from etude.runtime.store.inspection import summarize_store

    found = summarize_store(existing_store(options))
    kinds = ", ".join(f"{count} {kind}" for kind, count in found["records"]["kinds"].items())
    pinned = found["runs"]["pinned"]
    lines = [
        f"{found['store']}: {size_text(found['objects']['bytes'] + found['runs']['bytes'])}",
        f"  {count_text(found['objects']['count'], 'object')}, {size_text(found['objects']['bytes'])}",
        f"  {count_text(found['records']['count'], 'record')}" + (f": {kinds}" if kinds else ""),
        f"  {count_text(found['runs']['count'], 'run')}, {size_text(found['runs']['bytes'])} of their own"
        + (f", {len(pinned)} pinned" if pinned else ""),
    ]
    if found["scratch"]["count"]:
        lines.append(
            f"  {count_text(found['scratch']['count'], 'file')} in tmp/, {size_text(found['scratch']['bytes'])}"
        )
    lines += [f"  pinned: {run}" + (f" ({note})" if note else "") for run, note in pinned.items()]
    answer(options, found, "\n".join(lines))
    return faults.OK
