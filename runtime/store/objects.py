"""Objects: immutable files named by the SHA-256 of their bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from etude.compiler.keys import canonical_json
from etude.runtime.store.errors import DamagedObject, StoreError
from etude.runtime.store.files import sync_folder, synced, temporary

CHUNK = 1 << 20


class ObjectWriter:
    """A file that hashes what is written to it; `hash` is known once its `Objects.writing` block has ended."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self.size, self.hash, self.closed = 0, "", False

    def write(self, data: Any) -> int:
        """Append bytes, or anything with a buffer."""
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._digest.update(view)
        self.size += len(view)
        return len(view)

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return self._digest.hexdigest()


class Objects:
    """The folder of objects. Two processes may write the same one: the bytes are equal, either name wins."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self._verified: set[str] = set()

    def locate(self, hash: str) -> Path:
        """Where an object is, or would be."""
        return self.folder / hash[:2] / hash[2:]

    def put(self, data: bytes) -> str:
        """Store bytes; the result is their hash."""
        hash = hashlib.sha256(data).hexdigest()
        if self.size(hash) != len(data):
            with self.writing() as writer:
                writer.write(data)
        return hash

    def put_json(self, value: Any) -> str:
        """Store a JSON value in its canonical spelling."""
        return self.put(canonical_json(value))

    @contextlib.contextmanager
    def writing(self) -> Iterator[ObjectWriter]:
        """Write an object piece by piece; it appears, complete, when the block ends without an error."""
        with temporary(self.scratch) as (file, path):
            writer = ObjectWriter(file)
            yield writer
            hash = writer.digest()
            if self.size(hash) != writer.size:
                synced(file)
                os.chmod(path, 0o444)
                target = self.locate(hash)
                target.parent.mkdir(exist_ok=True)
                path.rename(target)
                sync_folder(target.parent)
            writer.hash = hash

    def size(self, hash: str) -> int | None:
        """The bytes of an object, None when it is not there: the cheap check."""
        try:
            return self.locate(hash).stat().st_size
        except FileNotFoundError:
            return None

    def path(self, hash: str) -> Path:
        """An object's file, its content verified once per process. Raises `DamagedObject` or `StoreError`."""
        path = self.locate(hash)
        if hash not in self._verified:
            try:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                raise StoreError(f"object {hash[:12]} is missing", path=path, hint="run again") from None
            self._check(hash, found, path)
        return path

    def read(self, hash: str) -> bytes:
        """An object's bytes, verified. Raises `DamagedObject` or `StoreError`."""
        path = self.locate(hash)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise StoreError(f"object {hash[:12]} is missing", path=path, hint="run again") from None
        self._check(hash, hashlib.sha256(data).hexdigest(), path)
        return data

    def read_json(self, hash: str) -> Any:
        """A JSON object's value."""
        return json.loads(self.read(hash))

    def _check(self, hash: str, found: str, path: Path) -> None:
        if hash != found:
            path.rename(self.scratch / f"damaged-{hash}")
            raise DamagedObject(hash, path)
        self._verified.add(hash)
