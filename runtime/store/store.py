"""The folder `.etude/` as a whole."""

from __future__ import annotations

import contextlib
import shutil
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from etude.runtime.store.errors import MissingObject, StoreError
from etude.runtime.store.files import explained, replace_file
from etude.runtime.store.leases import Leases
from etude.runtime.store.objects import Objects, read_hash
from etude.runtime.store.pins import Pins
from etude.runtime.store.records import Record, Records

if TYPE_CHECKING:
    from etude.runtime.store.filehashes import FileHashes
    from etude.runtime.store.remote import Remote

FORMAT = "1"
SCRATCH_SECONDS = 24 * 3600
SMALL_BYTES = 1 << 20
FOLDERS = ("objects", "records", "partial", "leases", "runs", "pins", "tmp")
Verify: TypeAlias = Literal["always", "changed"]


class Store:
    """`objects/`, `records/`, `partial/`, `leases/`, `runs/`, `pins/`, `tmp/` and the index `files.sqlite`.

    `verify` says when an object's content is hashed before a process uses it for the first time: always, or only if
    its stamp (size, times, inode) is not that of an earlier time. `remote` is the URL of a second store, from which is
    taken what is not here.
    """

    def __init__(self, root: Path | str, *, verify: Verify = "always", remote: str | None = None) -> None:
        self.verify, self.remote_url = verify, remote
        self.root, self.trusts_times = Path(root), True
        self.scratch = self.root / "tmp"
        self.partial = self.root / "partial"
        self.runs = self.root / "runs"
        try:
            for name in FOLDERS:
                (self.root / name).mkdir(parents=True, exist_ok=True)
            self._check_format()
        except OSError as error:
            refusal = StoreError(f"cannot use this folder as a store: {error.strerror}", path=self.root)
            raise explained(error, self.root) or refusal from error
        hash_file = self._hash_if_changed if verify == "changed" else None
        self.remote = self._open_remote()
        self.objects = Objects(self.root / "objects", self.scratch, hash_file=hash_file, remote=self.remote)
        self.records = Records(self.root / "records", self.scratch, self.objects, remote=self.remote)
        self.pins = Pins(self.root / "pins", self.scratch)

    def settings(self) -> dict[str, Any]:
        """What another process needs to open this store as it is here."""
        return {"root": str(self.root), "verify": self.verify, "remote": self.remote_url}

    def _open_remote(self) -> Remote | None:
        if self.remote_url is None:
            return None
        from etude.runtime.store.remote import Remote

        return Remote(self.remote_url)

    def leases(self) -> Leases:
        """A new set of leases for one run."""
        return Leases(self.root / "leases", self.scratch)

    def hash_file(self, path: Path) -> str:
        """The SHA-256 of a user's file, read only when it has changed since, unless times are not trusted."""
        return self._file_hashes.hash(path, again=not self.trusts_times)

    def _hash_if_changed(self, path: Path) -> str:
        """The same for an object; to look up a small one takes longer than to read it."""
        return self.hash_file(path) if path.stat().st_size > SMALL_BYTES else read_hash(path)

    @cached_property
    def _file_hashes(self) -> FileHashes:
        from etude.runtime.store.filehashes import FileHashes

        return FileHashes(self.root / "files.sqlite")

    def record(self, key: str) -> Record | None:
        """The record of a key, None when the stage has to run."""
        return self.records.find(key)

    def read_json(self, hash: str) -> Any:
        """A JSON artifact."""
        return self.objects.read_json(hash)

    def sizes(self, hashes: set[str]) -> dict[str, int]:
        """The sizes of objects that must be there. Raises `MissingObject`."""
        sizes: dict[str, int] = {}
        for hash in sorted(hashes):
            size = self.objects.size(hash)
            if size is None:
                raise MissingObject(hash, self.objects.locate(hash))
            sizes[hash] = size
        return sizes

    def sweep(self) -> None:
        """Remove what killed processes left behind: a day ago, or beside the record that made it useless."""
        for path in self.scratch.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > SCRATCH_SECONDS:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in self.partial.iterdir():
            if self.records.read(path.name) is not None and self.record(path.name) is not None:
                shutil.rmtree(path, ignore_errors=True)

    def _check_format(self) -> None:
        path = self.root / "format"
        if not path.exists():
            (self.root / ".gitignore").write_text("*\n")
            replace_file(path, f"{FORMAT}\n".encode(), self.scratch)
        elif (found := path.read_text().strip()) not in {"", FORMAT}:
            raise StoreError(
                "the store was written by another version", path=self.root, hint=f"format {found}, expected {FORMAT}"
            )
