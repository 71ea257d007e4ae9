"""A second store behind a URL, of any kind that fsspec knows: `s3://..`, `gs://..`, `file:///..`.

It has the same folders, `objects/` and `records/`, and `runs/` with a file for each. It is never believed: what comes
from there is hashed on its way in. An object may be there cut short after an upload that broke off; its size tells.

A question takes a second store a tenth of a second: who asks often is given the list of all that is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.runtime.store.errors import StoreError

if TYPE_CHECKING:
    from etude.runtime.store.objects import Objects

CHUNK = 8 << 20
SINGLE = 16  # questions about a folder that are asked one by one
LISTED_SECONDS = 60.0  # then it is listed, and again after so long: others may send results meanwhile
NEAR = {"file", "local", "memory"}  # where reading an object again costs no transfer


class Folder:
    """The sizes of the files in `objects/` or `records/`, each named by two characters and the rest of a hash."""

    def __init__(self, name: str, ending: str = "") -> None:
        self.name, self.ending = name, ending
        self._asked = 0
        self._listed: dict[str, int] = {}
        self._until = 0.0

    def file(self, hash: str) -> str:
        """Where the file for a hash is, or would be."""
        return f"{self.name}/{hash[:2]}/{hash[2:]}{self.ending}"

    def size(self, hash: str, files: Any, root: str) -> int | None:
        """The bytes of a file, None when it is not there."""
        self._asked += 1
        if self._asked > SINGLE:
            return self._list(files, root).get(hash)
        try:
            return int(files.info(f"{root}/{self.file(hash)}")["size"])
        except FileNotFoundError:
            return None

    def _list(self, files: Any, root: str) -> dict[str, int]:
        if time.monotonic() > self._until:
            files.invalidate_cache()  # file systems keep what they have been told before
            try:
                found = files.find(f"{root}/{self.name}", detail=True)
            except FileNotFoundError:
                found = {}
            named = ((str(path).rstrip("/").rsplit("/", 2)[-2:], info["size"]) for path, info in found.items())
            self._listed = {"".join(parts).removesuffix(self.ending): int(size) for parts, size in named}
            self._until = time.monotonic() + LISTED_SECONDS
        return self._listed


class Remote:
    """The second store at `url`. Nothing is asked of it before it is needed; every method raises `StoreError`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: tuple[Any, str] | None = None
        self._sizes: dict[str, int | None] = {}
        self._objects, self._records = Folder("objects"), Folder("records", ".json")

    def size(self, hash: str) -> int | None:
        """The bytes of an object, None when it is not there."""
        if hash not in self._sizes:
            found = self._size(self._objects, hash)
            if found is None:
                return None
            self._sizes[hash] = found
        return self._sizes[hash]

    def record(self, key: str) -> bytes | None:
        """The file of a record, None when it is not there."""
        if self._size(self._records, key) is None:
            return None
        return self._content(self._records.file(key))

    def fetch(self, hash: str, objects: Objects) -> bool:
        """Bring an object here. False when it is not there, or is not what its name says."""
        files, path = self._file(self._objects.file(hash))
        with self._explaining(path):
            try:
                stream = files.open(path, "rb")
            except FileNotFoundError:
                return False
            with contextlib.suppress(_RefusedError), stream, objects.writing() as writer:
                while piece := stream.read(CHUNK):
                    writer.write(piece)
                if writer.digest() != hash:
                    raise _RefusedError
                return True
        self.refuse(hash)
        return False

    def refuse(self, hash: str) -> None:
        """Count an object of the second store as not there, as it is not what its name says."""
        self._sizes[hash] = None

    def put_object(self, hash: str, source: Path, size: int, *, verify: bool = False) -> bool:
        """Send an object; False when it was there.

        What is there is read again where that costs no transfer, and with `verify` anywhere; else its size has to do.
        """
        if self.size(hash) == size and self._is_sound(hash, verify=verify):
            return False
        self._send(self._objects.file(hash), source)
        self._sizes[hash] = size
        return True

    def _is_sound(self, hash: str, *, verify: bool) -> bool:
        """Whether the bytes of an object hash to its name, as far as they are read."""
        files, path = self._file(self._objects.file(hash))
        protocols = {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
        if not verify and protocols.isdisjoint(NEAR):
            return True
        digest = hashlib.sha256()
        with self._explaining(path), files.open(path, "rb") as stream:
            while piece := stream.read(CHUNK):
                digest.update(piece)
        return digest.hexdigest() == hash

    def put_record(self, key: str, source: Path) -> bool:
        """Send a record, after its objects; False when it was there."""
        if self.record(key) == source.read_bytes():
            return False
        self._send(self._records.file(key), source)
        return True

    def put_run(self, run: str, source: Path) -> None:
        """Send the folder of a run, packed."""
        self._send(f"runs/{run}.tar", source)

    def run(self, run: str) -> bytes | None:
        """The packed folder of a run, None when it is not there."""
        return self._content(f"runs/{run}.tar")

    def run_files(self) -> list[str]:
        """The names of the packed folders."""
        files, root = self._files()
        with self._explaining(f"{root}/runs"):
            try:
                return [str(path).rstrip("/").rsplit("/", 1)[-1] for path in files.ls(f"{root}/runs", detail=False)]
            except FileNotFoundError:
                return []

    def _size(self, folder: Folder, hash: str) -> int | None:
        files, root = self._files()
        with self._explaining(f"{root}/{folder.name}"):
            return folder.size(hash, files, root)

    def _content(self, name: str) -> bytes | None:
        files, path = self._file(name)
        with self._explaining(path):
            try:
                return bytes(files.cat_file(path))
            except FileNotFoundError:
                return None

    def _send(self, name: str, source: Path) -> None:
        files, path = self._file(name)
        with self._explaining(path):
            files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            files.put_file(str(source), path)

    def _file(self, name: str) -> tuple[Any, str]:
        files, root = self._files()
        return files, f"{root}/{name}"

    def _files(self) -> tuple[Any, str]:
        if self._opened is None:
            with self._explaining(self.url):
                try:
                    from fsspec.core import url_to_fs
                except ModuleNotFoundError as error:
                    hint = 'pip install "etude-lang[remote]"'
                    raise StoreError("a second store needs fsspec", path=Path(self.url), hint=hint) from error
                files, root = url_to_fs(self.url)
                self._opened = files, root.rstrip("/")
        return self._opened

    @contextlib.contextmanager
    def _explaining(self, path: str) -> Iterator[None]:
        """Whatever a file system of fsspec raises, as an error of the store."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            raise RemoteError(self.url, f"{path}: {error or type(error).__name__}") from error


class _RefusedError(Exception):
    """What came is not what was asked for; nothing of it is kept."""


class RemoteError(StoreError):
    """The second store cannot be reached, or refuses."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"the second store does not answer: {reason}", path=Path(url), hint="leave out --remote")
        self.url = url

    def __str__(self) -> str:
        return f"{self.url}: {self.message}\nhint: {self.hint}"
