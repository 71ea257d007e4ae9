"""What nothing needs any more: found from the runs that are kept, and removed in an order that a kill cannot harm.

Kept are pinned runs, running ones, the last few, and those younger than an age; with them the records of their stages
and the objects of those. What is new is left alone, as its run may not have said yet that it needs it. Should a run
find a result a moment before it is removed, it makes it anew.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etude.runtime.runs import Run, list_runs
from etude.runtime.store.files import remove, rename, sync_folder
from etude.runtime.store.holders import machine
from etude.runtime.store.reach import Reach
from etude.runtime.store.records import Record, parse_record
from etude.runtime.store.store import Store

Json = Any
GRACE_SECONDS = 3600.0
DAY_SECONDS = 24 * 3600.0
SILENT_DAYS = 7
DERIVED = {"drawing", "export"}  # of no run's own: kept while they are young, or a kept run names what they made


@dataclass(kw_only=True)
class Garbage:
    """What would be removed, with sizes in bytes. `kept` says of each run that stays why.

    `young` are objects that no run that stays needs, and that are too new to be removed.
    """

    runs: dict[str, int] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    records: dict[Path, int] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)
    partial: dict[Path, int] = field(default_factory=dict)
    scratch: dict[Path, int] = field(default_factory=dict)
    young: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        removed = {name: {"count": len(sizes), "bytes": sum(sizes.values())} for name, sizes in self._parts().items()}
        young = {"count": len(self.young), "bytes": sum(self.young.values())}
        runs = {"runs_removed": sorted(self.runs), "runs_kept": self.kept}
        return {"removed": removed, "bytes": self.bytes, **runs, "young": young}

    @property
    def bytes(self) -> int:
        """What there will be room for. The models of a run share their bytes with objects."""
        return sum(sum(sizes.values()) for sizes in self._parts().values())

    def _parts(self) -> dict[str, Mapping[Any, int]]:
        return {
            "runs": self.runs,
            "records": self.records,
            "objects": self.objects,
            "partial": self.partial,
            "scratch": self.scratch,
        }


def find_garbage(store: Store, *, last: int, days: float) -> Garbage:
    """Look for what is not reached from pins, running runs, the `last` runs, and those of the last `days`."""
    garbage, now = Garbage(), time.time()
    pins = store.pins.all()
    kept = []
    for position, run in enumerate(list_runs(store)):
        reason = _reason(run, run.id in pins, position < last, now - days * DAY_SECONDS)
        if reason is None:
            garbage.runs[run.id] = _folder_size(run.folder)
        else:
            garbage.kept[run.id] = reason
            kept.append(Reach.of_run(run.folder))
    reach = Reach.union(kept)
    asked, new = _split_records(store, reach, garbage, now, now - days * DAY_SECONDS)
    wanted = reach.with_objects_of(asked).objects
    needed = wanted | reach.with_objects_of(new).objects
    for hash in store.objects:
        found = store.objects.locate(hash).stat()
        if hash not in needed and not _is_new(found.st_mtime, now):
            garbage.objects[hash] = found.st_size
        elif hash not in wanted and _is_new(found.st_mtime, now):
            garbage.young[hash] = found.st_size
    for path in (store.root / "partial").glob("*"):
        is_done = store.records.locate(path.name).exists()
        if is_done or (path.name not in reach.keys and now - path.stat().st_mtime > GRACE_SECONDS):
            garbage.partial[path] = _folder_size(path)
    for path in store.scratch.iterdir():
        if now - path.stat().st_mtime > DAY_SECONDS or path.name.startswith("damaged-"):
            garbage.scratch[path] = _folder_size(path) if path.is_dir() else path.stat().st_size
    return garbage


def remove_garbage(store: Store, garbage: Garbage) -> None:
    """Remove what was found: runs, then records, then the objects that nothing names any more."""
    for run in garbage.runs:
        aside = store.scratch / uuid.uuid4().hex
        rename(store.runs / run, aside)  # gone at once for all others, however long its files take
        shutil.rmtree(aside, ignore_errors=True)
    for path in garbage.records:
        remove(path)
    for folder in {path.parent for path in garbage.records}:
        sync_folder(folder)
    for hash in garbage.objects:
        remove(store.objects.locate(hash))
    for path in (*garbage.partial, *garbage.scratch):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _reason(run: Run, is_pinned: bool, is_late: bool, since: float) -> str | None:
    """Why a run is kept."""
    if is_pinned:
        return "pinned"
    if run.status == "running" and _is_at_work(run.folder):
        return "running"
    if is_late:
        return "one of the last"
    return "young" if run.folder.stat().st_mtime > since else None


def _is_at_work(folder: Path) -> bool:
    """Whether a run that looks so is running; one of another machine, which cannot be asked, speaks now and then."""
    try:
        is_here = json.loads((folder / "running.json").read_bytes()).get("machine") == machine()
        return is_here or time.time() - (folder / "events.jsonl").stat().st_mtime < SILENT_DAYS * DAY_SECONDS
    except (OSError, ValueError):
        return True


def _split_records(
    store: Store, reach: Reach, garbage: Garbage, now: float, since: float
) -> tuple[list[Record], list[Record]]:
    """The records that stay as something asks for them, and as they are new; the others are added to the garbage."""
    asked, new = [], []
    for key in store.records.all_keys():
        path = store.records.locate(key)
        found, record = path.stat(), parse_record(path.read_bytes())
        if record is not None and _stays(record, reach, found.st_mtime, since):
            asked.append(record)
        elif record is not None and _is_new(found.st_mtime, now):
            new.append(record)
        elif record is not None or not _is_new(found.st_mtime, now):
            garbage.records[path] = found.st_size
    return asked, new


def _is_new(changed: float, now: float) -> bool:
    return now - changed <= GRACE_SECONDS


def _stays(record: Record, reach: Reach, changed: float, since: float) -> bool:
    if record.kind in DERIVED and (changed > since or not reach.objects.isdisjoint(record.outputs.values())):
        return True
    return record.key in reach.keys


def _folder_size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
