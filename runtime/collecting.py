"""Values that come in pieces as one array: in memory while they are few, otherwise in a mapped file without a name."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Mapping
from typing import IO, Any

import numpy as np

from etude.runtime.arrays import Array
from etude.runtime.store import Objects

SPILL_BYTES = 8 << 20


def collected(objects: Objects, pieces: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """The values of consecutive pieces as one array for each name, of which the system holds what it has room for."""
    columns: dict[str, Collected] = {}
    for piece in pieces:
        for name, values in piece.items():
            columns.setdefault(name, Collected(objects)).append(values)
    return {name: column.array() for name, column in columns.items()}


class Collected:
    """One array in the making."""

    def __init__(self, objects: Objects) -> None:
        self._objects, self._parts, self._held = objects, list[Array](), 0
        self._file: IO[bytes] | None = None
        self._rows, self._row_shape, self._dtype = 0, (0,), np.dtype(np.float32)

    def append(self, values: Array) -> None:
        """Add rows, [rows, ...]."""
        self._rows, self._row_shape, self._dtype = self._rows + len(values), values.shape[1:], values.dtype
        self._parts.append(values)
        self._held += values.nbytes
        if self._held > SPILL_BYTES:
            self._spill()

    def array(self) -> Array:
        """All rows; the file is gone when nobody uses them any more."""
        if self._file is None:
            return np.concatenate(self._parts) if len(self._parts) != 1 else self._parts[0]
        self._spill()
        self._file.flush()
        mapped: Any = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._file.close()
        made: Array = np.frombuffer(mapped, self._dtype).reshape(self._rows, *self._row_shape)
        return made

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._objects.scratch)  # noqa: SIM115
        for values in self._parts:
            self._file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
        self._parts, self._held = [], 0
