"""The files of checkpoints: written whole or not at all, read only as they were written."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load, save

from etude.backends.base import Array
from etude.backends.snapshots import Snapshot
from etude.runtime.store.files import make_folder, remove, rename, replace_file, synced, temporary, write

Json = Any
KEPT = 2


class DamagedCheckpointError(Exception):
    """A checkpoint is not as it was written."""


class OtherMakerError(Exception):
    """A checkpoint was made by another program, framework or version; `difference` says which."""

    def __init__(self, difference: str) -> None:
        super().__init__(f"was made with another {difference}")


class CheckpointFolder:
    """The checkpoints of one stage. `maker` is what has to be the same for the bits to be the same."""

    def __init__(self, folder: Path, scratch: Path, maker: Mapping[str, Json]) -> None:
        self.folder, self.scratch, self.maker = folder, scratch, dict(maker)
        self._own: list[tuple[int, list[str]]] = []  # the checkpoints that stay, each with its parts
        self._parts: dict[int, str] = {}  # files of weights of earlier steps, which do not change

    def steps(self) -> list[int]:
        """The steps that there are checkpoints of, the latest first."""
        found = (path.stem for path in self.folder.glob("*.json"))
        return sorted((int(stem) for stem in found if stem.isdigit()), reverse=True)

    def read(self, step: int) -> Snapshot:
        """A checkpoint, verified. Raises `DamagedCheckpointError`, `OtherMakerError`."""
        body = self._manifest(step)
        _check_maker(body["maker"], self.maker)
        arrays = {name: self._arrays(hash) for name, hash in body["parts"].items()}
        state = arrays.pop("state")
        self._parts = {int(name): hash for name, hash in body["parts"].items() if name != "state"}
        self._own = [(step, [*body["parts"].values()])]
        return Snapshot(step, state, {int(name): weights for name, weights in arrays.items()}, body["facts"])

    def write(self, snapshot: Snapshot) -> int:
        """Keep a checkpoint, and no more than the one before it; the result is its bytes. Raises `StoreError`."""
        make_folder(self.folder, exist_ok=True)
        state = save(dict(snapshot.state))
        parts = {"state": self._put(state)}
        for step, weights in snapshot.kept.items():
            if step not in self._parts or not self._locate(self._parts[step]).exists():
                self._parts[step] = self._put(save(dict(weights)))
            parts[str(step)] = self._parts[step]
        body = json.dumps({"maker": self.maker, "parts": parts, "facts": snapshot.facts})
        replace_file(self.folder / f"{snapshot.step}.json", f"{body}\n{_hash(body.encode())}\n".encode(), self.scratch)
        self._own = [*(each for each in self._own if each[0] != snapshot.step), (snapshot.step, [*parts.values()])]
        self._own = self._own[-KEPT:]
        self._prune()
        return len(state) + len(body)

    def _manifest(self, step: int) -> Json:
        try:
            body, hash = (self.folder / f"{step}.json").read_text().rstrip("\n").rsplit("\n", 1)
        except (OSError, ValueError) as error:
            raise DamagedCheckpointError from error
        if _hash(body.encode()) != hash:
            raise DamagedCheckpointError
        return json.loads(body)

    def _arrays(self, hash: str) -> dict[str, Array]:
        try:
            data = self._locate(hash).read_bytes()
            if _hash(data) != hash:
                raise DamagedCheckpointError
            return dict(load(data))
        except (OSError, SafetensorError) as error:
            raise DamagedCheckpointError from error

    def _put(self, data: bytes) -> str:
        """Write a file of arrays under its hash."""
        hash = _hash(data)
        path = self._locate(hash)
        with temporary(self.scratch) as (file, temporary_path):
            write(file, data, temporary_path)
            synced(file, temporary_path)
            rename(temporary_path, path)
        return hash

    def _locate(self, hash: str) -> Path:
        return self.folder / f"{hash}.safetensors"

    def _prune(self) -> None:
        """Remove all that the checkpoints that stay do not need: first what names files, then the files."""
        names = {f"{step}.json" for step, _ in self._own}
        needed = {self._locate(hash).name for _, parts in self._own for hash in parts}
        for path in sorted(self.folder.iterdir(), key=lambda path: path.suffix != ".json"):
            if path.name not in names | needed:
                with contextlib.suppress(OSError):
                    remove(path)


def _check_maker(found: Mapping[str, Json], wanted: Mapping[str, Json]) -> None:
    differing = [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]
    if differing:
        raise OtherMakerError(", ".join(differing))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
