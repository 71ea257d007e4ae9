"""Records: which outputs the stage with a key has. One JSON file per key, created once, by one process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from etude.compiler.keys import canonical_json
from etude.runtime.store.files import create_exclusively, sync_folder
from etude.runtime.store.objects import Objects

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """A finished stage. `outputs` maps ports to hashes, `objects` every object that they need to its size.

    `made` says how: backend, device, seconds and versions. `source` is the object with the generated program.
    """

    key: str
    kind: str
    outputs: Mapping[str, str]
    objects: Mapping[str, int]
    seconds: float
    created: float
    made: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None


class Records:
    """The folder of records; they are believed only while their objects are there in full size."""

    def __init__(self, folder: Path, scratch: Path, objects: Objects) -> None:
        self.folder, self.scratch, self.objects = folder, scratch, objects

    def find(self, key: str) -> Record | None:
        """The record of a key. One whose objects are gone or cut short is removed, so that the stage runs again."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        record = _parsed(data)
        if record is None or record.key != key or not self._is_complete(record):
            path.unlink(missing_ok=True)
            return None
        return record

    def write(self, record: Record) -> Record:
        """Create the record, unless another process was first: the result is the one that counts."""
        path = self._path(record.key)
        path.parent.mkdir(exist_ok=True)
        data = canonical_json({"format": FORMAT, **asdict(record)})
        if create_exclusively(path, data, self.scratch):
            return record
        return self.find(record.key) or self.write(record)

    def remove(self, key: str) -> None:
        """Forget a stage's result."""
        path = self._path(key)
        if path.exists():
            path.unlink(missing_ok=True)
            sync_folder(path.parent)

    def __iter__(self) -> Iterator[Record]:
        for path in sorted(self.folder.glob("*/*.json")):
            if record := self.find(path.parent.name + path.stem):
                yield record

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.json"

    def _is_complete(self, record: Record) -> bool:
        return all(self.objects.size(hash) == size for hash, size in record.objects.items())


def _parsed(data: bytes) -> Record | None:
    try:
        fields = json.loads(data)
        return Record(**fields) if fields.pop("format") == FORMAT else None
    except (ValueError, KeyError, TypeError):
        return None
