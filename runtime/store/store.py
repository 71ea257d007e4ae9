"""The folder `.etude/` as a whole."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.runtime.store.errors import StoreError
from etude.runtime.store.leases import Leases
from etude.runtime.store.objects import Objects
from etude.runtime.store.records import Record, Records

if TYPE_CHECKING:
    from etude.runtime.store.filehashes import FileHashes

FORMAT = "1"
SCRATCH_SECONDS = 24 * 3600


class Store:
    """`objects/`, `records/`, `leases/`, `runs/`, `tmp/` and the index `files.sqlite`."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.scratch = self.root / "tmp"
        self.runs = self.root / "runs"
        try:
            for name in ("objects", "records", "leases", "runs", "tmp"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            self._check_format()
        except OSError as error:
            raise StoreError(f"cannot use this folder as a store: {error.strerror}", path=self.root) from error
        self.objects = Objects(self.root / "objects", self.scratch)
        self.records = Records(self.root / "records", self.scratch, self.objects)

    def leases(self) -> Leases:
        """A new set of leases for one run."""
        return Leases(self.root / "leases", self.scratch)

    def hash_file(self, path: Path) -> str:
        """The SHA-256 of a user's file, read only when it has changed since it was last asked for."""
        return self._file_hashes.hash(path)

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
        """The sizes of objects that must be there."""
        sizes = {hash: self.objects.size(hash) for hash in sorted(hashes)}
        assert None not in sizes.values(), "an object of a finished stage is missing"
        return {hash: size for hash, size in sizes.items() if size is not None}

    def sweep(self) -> None:
        """Remove what killed processes left behind a day ago."""
        for path in self.scratch.iterdir():
            try:
                if time.time() - path.stat().st_mtime > SCRATCH_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue

    def _check_format(self) -> None:
        path = self.root / "format"
        if not path.exists():
            path.write_text(FORMAT + "\n")
            (self.root / ".gitignore").write_text("*\n")
        elif (found := path.read_text().strip()) not in {"", FORMAT}:
            raise StoreError(
                "the store was written by another version", path=self.root, hint=f"format {found}, expected {FORMAT}"
            )
