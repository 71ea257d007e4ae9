"""Records: which outputs the stage with a key has. One JSON file per key, created once, by one process."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.compiler.keys import canonical_json
from etude.runtime.store.errors import StoreError
from etude.runtime.store.files import create_exclusively, make_folder, remove, replace_file, sync_folder
from etude.runtime.store.objects import Objects

if TYPE_CHECKING:
    from etude.runtime.store.remote import Remote

FORMAT = 2


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


def is_exact(record: Record) -> bool:
    """Whether no rewrite had a part in a stage that may change the bits of what it makes."""
    rewrites = record.made.get("rewrites", {}).values()
    backend = record.made.get("backend")
    chosen = backend if isinstance(backend, Mapping) else {}
    is_otherwise = any(chosen.get(name) for name in ("compile", "mesh"))
    return not is_otherwise and not any(each["is_used"] for each in rewrites)


class Records:
    """The folder of records; one is believed only as it was written, and while its objects are there in full size.

    A store that `is_strict` finds those only that are exact, and puts such in the place of others.
    """

    is_strict = False

    def __init__(self, folder: Path, scratch: Path, objects: Objects, remote: Remote | None = None) -> None:
        self.folder, self.scratch, self.objects, self.remote = folder, scratch, objects, remote

    def find(self, key: str) -> Record | None:
        """The record of a key, None when it is damaged, or objects are gone or cut short, so that the stage runs again.

        It is left where it is: the objects may come back, and who runs the stage writes it anew.
        """
        record = self.read(key)
        if record is None and self.remote is not None:
            record = self._fetched(key)
        is_found = record is not None and self.is_complete(record) and (is_exact(record) or not self.is_strict)
        return record if is_found else None

    def _fetched(self, key: str) -> Record | None:
        """The record of a key in the second store; kept here from now on, its objects when they are asked for."""
        assert self.remote is not None
        data = self.remote.record(key)
        record = None if data is None else parse_record(data)
        if record is None or record.key != key or not self.is_complete(record):
            return None
        with contextlib.suppress(StoreError):  # a store that cannot be written can still be read through
            return self.write(record)
        return record

    def read(self, key: str) -> Record | None:
        """The record of a key, whatever has become of its objects."""
        try:
            with open(f"{self.folder}/{key[:2]}/{key[2:]}.json", "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return None
        record = parse_record(data)
        return record if record is not None and record.key == key else None

    def write(self, record: Record) -> Record:
        """Create the record, unless another process was first: the result is the one that counts."""
        path = self.locate(record.key)
        make_folder(path.parent, exist_ok=True)
        data = format_record(record)
        if create_exclusively(path, data, self.scratch):
            return record
        found = self.find(record.key)
        if found is None:
            replace_file(path, data, self.scratch)
        return found or record

    def remove(self, key: str) -> None:
        """Forget a stage's result."""
        path = self.locate(key)
        if path.exists():
            remove(path)
            sync_folder(path.parent)

    def all_keys(self) -> Iterator[str]:
        """The keys that have a file, sorted."""
        for path in sorted(self.folder.glob("*/*.json")):
            yield path.parent.name + path.stem

    def __iter__(self) -> Iterator[Record]:
        for key in self.all_keys():
            if record := self.find(key):
                yield record

    def locate(self, key: str) -> Path:
        """Where a record is, or would be."""
        return self.folder / key[:2] / f"{key[2:]}.json"

    def is_complete(self, record: Record) -> bool:
        """Whether every object is there in full size: the cheap check. Content is checked where it is read."""
        return all(self.objects.size(hash) == size for hash, size in record.objects.items())


def format_record(record: Record) -> bytes:
    """A record as the bytes of its file, with a hash of all the rest."""
    fields = {"format": FORMAT, **asdict(record)}
    return canonical_json({**fields, "check": _check(fields)})


def parse_record(data: bytes) -> Record | None:
    """The record of a file; None when its bytes are not those that were written."""
    try:
        fields = json.loads(data)
        check = fields.pop("check")
        rest = data.replace(f'"check":"{check}",'.encode(), b"", 1)
        if hashlib.sha256(rest).hexdigest() != check or fields.pop("format") != FORMAT:
            return None
        return Record(**fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _check(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(fields)).hexdigest()
