"""Columns that are stored while they are read: what does not fit into memory waits in an unnamed file.

The object is the same, byte for byte, as `write_array` makes of the whole array: how it was cut plays no role.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import tempfile
from abc import ABC, abstractmethod
from typing import IO, Any

import numpy as np
import pyarrow as pa

from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import STORED, Array, release, write_array, write_column
from etude.runtime.store import Objects

SPILL_BYTES = 8 << 20


class ColumnWriter:
    """One column in the making. `rows` so far, and a digest of their values."""

    def __init__(self, objects: Objects, schema: ColumnSchema, spill_bytes: int = SPILL_BYTES) -> None:
        self.schema, self.rows = schema, 0
        self._objects, self._spill_bytes, self._held = objects, spill_bytes, 0
        self._parts: list[Array] = []
        self._digest = hashlib.sha256()
        self._spilled: _Spill | None = None

    def append(self, values: Array) -> None:
        """Add rows, [rows, *shape] of the column's dtype, or texts."""
        expected = ("object" if self.schema.kind == "text" else self.schema.dtype, tuple(self.schema.shape))
        got = (str(values.dtype), values.shape[1:])
        assert got == expected, f"column {self.schema.name}: expected {expected}, got {got}"
        self.rows += len(values)
        self._parts.append(values)
        self._held += self._update_digest(values)
        if self._held > self._spill_bytes:
            self._spill()

    def digest(self) -> str:
        """A hash of the values so far."""
        return self._digest.hexdigest()

    def finish(self) -> str:
        """Store the column; the result is the object's hash."""
        if self._spilled is None:
            return write_array(self._objects, self._all_parts())
        self._spill()
        return self._spilled.store(self._objects, self.rows)

    def close(self) -> None:
        """Let go of what waits; what was not finished is not stored."""
        if self._spilled is not None:
            self._spilled.close()

    def _all_parts(self) -> Array:
        if not self._parts:
            dtype = object if self.schema.kind == "text" else self.schema.dtype
            return np.empty((0, *self.schema.shape), dtype)
        return np.concatenate(self._parts) if len(self._parts) > 1 else self._parts[0]

    def _update_digest(self, values: Array) -> int:
        """Hash rows as they come; the result is how many bytes they hold."""
        if values.dtype != object:
            self._digest.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
            return values.nbytes
        held = 0
        for text in values:
            encoded = str(text).encode()
            self._digest.update(len(encoded).to_bytes(8, "little") + encoded)
            held += len(encoded)
        return held

    def _spill(self) -> None:
        if self._spilled is None:
            kind = _TextSpill if self.schema.kind == "text" else _NumberSpill
            self._spilled = kind(self._objects, self.schema)
        if self._parts:
            self._spilled.append(self._all_parts())
        self._parts, self._held = [], 0


class _Spill(ABC):
    """Files of raw bytes that have no name: they vanish with the process."""

    def __init__(self, objects: Objects, schema: ColumnSchema) -> None:
        self.schema = schema
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=objects.scratch)  # noqa: SIM115

    def close(self) -> None:
        self.file.close()

    @abstractmethod
    def append(self, values: Array) -> None:
        """Write rows."""

    @abstractmethod
    def store(self, objects: Objects, rows: int) -> str:
        """Make an object of all rows, in bounded memory; the result is its hash."""


class _NumberSpill(_Spill):
    def append(self, values: Array) -> None:
        self.file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)

    def store(self, objects: Objects, rows: int) -> str:
        width = math.prod(self.schema.shape)
        mapped = _mapped(self.file)
        stored = pa.from_numpy_dtype(np.dtype(STORED.get(self.schema.dtype, self.schema.dtype)))
        flat = pa.Array.from_buffers(stored, rows * width, [None, pa.py_buffer(mapped)])
        column = pa.FixedSizeListArray.from_arrays(flat, width) if self.schema.shape else flat
        return write_column(objects, column, lambda: release(mapped))


class _TextSpill(_Spill):
    """Text bytes in one file, where each text ends in another."""

    def __init__(self, objects: Objects, schema: ColumnSchema) -> None:
        super().__init__(objects, schema)
        self.ends: IO[bytes] = tempfile.TemporaryFile(dir=objects.scratch)  # noqa: SIM115
        self.ends.write(bytes(8))
        self.end = 0

    def close(self) -> None:
        super().close()
        self.ends.close()

    def append(self, values: Array) -> None:
        encoded = [str(text).encode() for text in values]
        ends = np.cumsum([len(text) for text in encoded], dtype=np.int64) + self.end
        self.end = int(ends[-1]) if len(ends) else self.end
        self.file.write(b"".join(encoded))
        self.ends.write(ends.data)

    def store(self, objects: Objects, rows: int) -> str:
        mapped, ends = _mapped(self.file), _mapped(self.ends)
        buffers: list[Any] = [None, pa.py_buffer(ends), pa.py_buffer(mapped)]
        column = pa.Array.from_buffers(pa.large_string(), rows, buffers)

        def give_back() -> None:
            release(mapped)
            release(ends)

        return write_column(objects, column, give_back)


def _mapped(file: IO[bytes]) -> mmap.mmap:
    file.flush()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
