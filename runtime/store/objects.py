"""Objects: immutable files named by the SHA-256 of their bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from etude.compiler.keys import canonical_json
from etude.runtime.store.errors import DamagedObject, MissingObject
from etude.runtime.store.files import make_folder, rename, sync_folder, synced, temporary, write

if TYPE_CHECKING:
    from etude.runtime.store.remote import Remote

FRESH_SECONDS = 600  # an object that is written again counts as new from then on, so that `gc` leaves it alone
Stamp = tuple[int, int, int, int]


class ObjectWriter:
    """A file that hashes what is written to it; `hash` is known once its `Objects.writing` block has ended."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path, self._digest = file, path, hashlib.sha256()
        self.size, self.hash, self.closed = 0, "", False

    def write(self, data: Any) -> int:
        """Append bytes, or anything with a buffer."""
        view = memoryview(data).cast("B")
        write(self._file, view, self._path)
        self._digest.update(view)
        self.size += len(view)
        return len(view)

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return self._digest.hexdigest()


class Objects:
    """The folder of objects. Two processes may write the same one: the bytes are equal, either name wins.

    `hash_file` is how an object's content is measured before its first use in a process: by reading it whole, or by
    one that remembers files by their stamps. `remote` is where an object may be that is not here.
    """

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        *,
        hash_file: Callable[[Path], str] | None = None,
        remote: Remote | None = None,
    ) -> None:
        self.folder, self.scratch, self.remote = folder, scratch, remote
        self._hash_file = hash_file or read_hash
        self._verified: dict[str, Stamp] = {}

    def locate(self, hash: str) -> Path:
        """Where an object is, or would be."""
        return self.folder / hash[:2] / hash[2:]

    def put(self, data: bytes) -> str:
        """Store bytes; the result is their hash."""
        hash = hashlib.sha256(data).hexdigest()
        if not self._is_there(hash, len(data)):
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
            writer = ObjectWriter(file, path)
            yield writer
            hash = writer.digest()
            if not self._is_there(hash, writer.size):
                synced(file, path)
                os.chmod(path, 0o444)
                target = self.locate(hash)
                make_folder(target.parent, exist_ok=True)
                rename(path, target)
                sync_folder(target.parent)
            writer.hash = hash

    def __iter__(self) -> Iterator[str]:
        """The hashes of all objects, sorted."""
        for path in sorted(self.folder.glob("*/*")):
            yield path.parent.name + path.name

    def size(self, hash: str) -> int | None:
        """The bytes of an object, None when it is neither here nor in the second store: the cheap check."""
        size = self.local_size(hash)
        return self.remote.size(hash) if size is None and self.remote else size

    def local_size(self, hash: str) -> int | None:
        """The bytes of an object of this folder, None when it is not there."""
        try:
            return os.stat(f"{self.folder}/{hash[:2]}/{hash[2:]}").st_size
        except FileNotFoundError:
            return None

    def path(self, hash: str) -> Path:
        """An object's file, its content verified before its first use in a process and when its stamp has changed.

        Raises `DamagedObject`, `MissingObject`.
        """
        path = self.locate(hash)
        stamp = self._stamp(hash) or self._fetched(hash)
        if self._verified.get(hash) != stamp:
            self._check(hash, self._hash_file(path), path)
            self._verified[hash] = stamp
        return path

    def verify(self, hash: str) -> None:
        """Read an object of this folder whole, whatever is known of it. Raises `DamagedObject`."""
        path = self.locate(hash)
        self._check(hash, read_hash(path), path)

    def read(self, hash: str) -> bytes:
        """An object's bytes, verified. Raises `DamagedObject`, `MissingObject`."""
        path = self.locate(hash)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            self._fetched(hash)
            data = path.read_bytes()
        self._check(hash, hashlib.sha256(data).hexdigest(), path)
        return data

    def read_json(self, hash: str) -> Any:
        """A JSON object's value."""
        return json.loads(self.read(hash))

    def _is_there(self, hash: str, size: int) -> bool:
        """Whether an object need not be written; one that is long there counts as new again."""
        path = self.locate(hash)
        try:
            found = path.stat()
            if found.st_size == size and time.time() - found.st_mtime > FRESH_SECONDS:
                os.utime(path)
        except FileNotFoundError:
            return False
        except PermissionError:  # another user's object in a shared folder
            return True
        return found.st_size == size

    def _stamp(self, hash: str) -> Stamp | None:
        try:
            found = self.locate(hash).stat()
        except FileNotFoundError:
            return None
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino

    def _fetched(self, hash: str) -> Stamp:
        """Bring an object here from the second store."""
        if self.remote is not None:
            self.remote.fetch(hash, self)
        stamp = self._stamp(hash)
        if stamp is None:
            raise MissingObject(hash, self.locate(hash))
        return stamp

    def _check(self, hash: str, found: str, path: Path) -> None:
        if hash != found:
            with contextlib.suppress(OSError):  # in a store that is read-only it stays, and is refused each time
                path.rename(self.scratch / f"damaged-{hash}")
            raise DamagedObject(hash, path)


def read_hash(path: Path) -> str:
    """The SHA-256 of a file, read whole."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
