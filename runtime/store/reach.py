"""What a run needs of its store: the keys of its stages, and the objects that its folder names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.runtime.store.records import Record
from etude.runtime.store.store import Store

Json = Any


@dataclass(frozen=True, slots=True)
class Reach:
    """Keys of stages, and hashes of objects."""

    keys: frozenset[str]
    objects: frozenset[str]

    @staticmethod
    def of_run(folder: Path) -> Reach:
        """What a run's folder names: a finished one in its manifest, any other in its plan and its events."""
        manifest = _read(folder / "run.json")
        if manifest is not None:
            stages, models = manifest.get("stages", []), manifest.get("models", {})
            return _reach(stages, [model["hash"] for model in models.values()])
        plan = _read(folder / "plan.json") or {}
        return _reach([*plan.get("stages", []), *_events(folder / "events.jsonl")], [])

    @staticmethod
    def union(parts: Iterable[Reach]) -> Reach:
        parts = list(parts)
        keys = frozenset(key for part in parts for key in part.keys)
        return Reach(keys, frozenset(hash for part in parts for hash in part.objects))

    def records(self, store: Store) -> list[Record]:
        """The records of the keys that have one, whatever has become of their objects."""
        return [record for key in sorted(self.keys) if (record := store.records.read(key))]

    def with_objects_of(self, records: Iterable[Record]) -> Reach:
        """The same with all objects that these records need."""
        return Reach(self.keys, self.objects | {hash for record in records for hash in record.objects})


def _reach(stages: Iterable[Mapping[str, Json]], objects: Iterable[str]) -> Reach:
    stages = list(stages)
    outputs = {hash for stage in stages for hash in (stage.get("outputs") or {}).values()}
    return Reach(frozenset(stage["key"] for stage in stages if stage.get("key")), frozenset({*objects, *outputs}))


def _read(path: Path) -> Json | None:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _events(path: Path) -> list[Json]:
    """The events of a run that broke off; a last line that is cut short says nothing."""
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
