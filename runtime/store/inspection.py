"""How a store is: what is in it, and whether all of it is sound."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etude.runtime.store.errors import LostObject
from etude.runtime.store.store import Store

Json = Any


@dataclass(kw_only=True)
class Soundness:
    """What an inspection found; `stages` are the keys that have to run again for it."""

    objects: int = 0
    bytes: int = 0
    records: int = 0
    damaged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not (self.damaged or self.missing or self.unreadable or self.indexes)

    def to_json(self) -> dict[str, Json]:
        return {**self.__dict__, "sound": self.is_sound}


def verify_store(store: Store, tell: Callable[[int, int], None] = lambda done, all: None) -> Soundness:
    """Read every object and record. Damaged ones are moved out of the way; their stages run again when needed."""
    found = Soundness()
    hashes = list(store.objects)
    for number, hash in enumerate(hashes, 1):
        size = store.objects.local_size(hash) or 0
        try:
            store.objects.verify(hash)
        except LostObject:
            found.damaged.append(hash)
        found.objects, found.bytes = number, found.bytes + size
        tell(number, len(hashes))
    for key in store.records.all_keys():
        record = store.records.read(key)
        if record is None:
            found.unreadable.append(key)
            store.records.remove(key)
            continue
        found.records += 1
        gone = [hash for hash in record.objects if store.objects.size(hash) is None]
        found.missing += [hash for hash in gone if hash not in (*found.damaged, *found.missing)]
        found.stages += [key] if gone else []
    found.indexes = [path.name for path in sorted(store.root.glob("*.sqlite")) if not _is_sound_index(path)]
    return found


def summarize_store(store: Store) -> dict[str, Json]:
    """What is in a store, with sizes in bytes."""
    sizes = [store.objects.local_size(hash) or 0 for hash in store.objects]
    records = [store.records.read(key) for key in store.records.all_keys()]
    kinds = Counter(record.kind for record in records if record is not None)
    runs = [path for path in store.runs.iterdir() if path.is_dir()]
    scratch = [path for path in store.scratch.rglob("*") if path.is_file()]
    return {
        "store": str(store.root),
        "objects": {"count": len(sizes), "bytes": sum(sizes)},
        "records": {"count": len(records), "kinds": dict(sorted(kinds.items()))},
        "runs": {"count": len(runs), "bytes": sum(_own_bytes(path) for path in runs), "pinned": store.pins.all()},
        "scratch": {"count": len(scratch), "bytes": sum(path.stat().st_size for path in scratch)},
    }


def _own_bytes(folder: Path) -> int:
    """The bytes of a run's folder without the files that are objects under another name."""
    files = (path.lstat() for path in folder.rglob("*") if not path.is_dir())
    return sum(found.st_size for found in files if found.st_nlink == 1)


def _is_sound_index(path: Path) -> bool:
    """Whether SQLite can read an index; one that it cannot is removed, and made again when it is needed."""
    try:
        with closing(sqlite3.connect(path, timeout=30)) as table:
            return bool(table.execute("PRAGMA quick_check").fetchone()[0] == "ok")
    except sqlite3.OperationalError:
        return True
    except sqlite3.DatabaseError:
        path.unlink(missing_ok=True)
        return False
