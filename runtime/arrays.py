"""Arrays in files: one Arrow IPC file per array, memory-mapped when it is read."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etude.runtime.store import Objects

Array = NDArray[Any]

BLOCK_BYTES = 16 << 20
RELEASE_BYTES = 64 << 20
FAULT_BYTES = 64 << 10  # what the system maps around a place that is touched
STORED = {"bool": "uint8"}  # Arrow packs truth values into bits, which numpy cannot map


class _Sink:
    """What pyarrow asks of a file that it writes to, in front of an object's writer."""

    def __init__(self, writer: Any, after_block: Callable[[], None]) -> None:
        self.writer, self.after_block, self.closed = writer, after_block, False

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), BLOCK_BYTES):
            self.writer.write(view[start : start + BLOCK_BYTES])
            self.after_block()
        return len(view)

    def tell(self) -> int:
        return int(self.writer.size)

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.closed = True


def write_array(objects: Objects, values: Array) -> str:
    """Store an array of rows: numbers of any shape, or texts (an object array of one dimension)."""
    return write_column(objects, _text_column(values) if values.dtype == object else _number_column(values))


def write_column(objects: Objects, column: Any, after_block: Callable[[], None] = lambda: None) -> str:
    """Store an Arrow array as the one batch of a file; `after_block` is called now and then while it is written."""
    batch = pa.record_batch([column], names=["values"])
    with objects.writing() as writer, pa.ipc.new_file(_Sink(writer, after_block), batch.schema) as file:
        file.write_batch(batch)
    return writer.hash


def read_array(objects: Objects, hash: str, dtype: str, shape: Sequence[int]) -> Array:
    """The array of an object, rows first: a read-only view of the mapped file; texts are copied out.

    `shape` is of one row.
    """
    with pa.memory_map(str(objects.path(hash))) as mapped:
        column = _column_of(mapped)
    if dtype == "text":
        return np.array(column.to_pylist(), dtype=object)
    return _numbers(column, dtype, shape)


class Rows:
    """A stored column whose rows are read when they are asked for: `rows[positions]` is a new array.

    What was mapped is given back about every 64 MiB, so that a pass over a file larger than memory stays small.
    """

    def __init__(self, objects: Objects, hash: str, dtype: str, shape: Sequence[int], index: Array | None) -> None:
        with objects.path(hash).open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        column = _column_of(pa.py_buffer(self._mapped))
        self._values = column if dtype == "text" else _numbers(column, dtype, shape)
        self._index, self._touched = index, 0
        self.dtype, self.shape = dtype, (len(column) if index is None else len(index), *shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, positions: Array | slice) -> Array:
        """The rows at `positions`, [positions, ...]."""
        if self.dtype == "text":
            chosen = np.arange(len(self))[positions] if self._index is None else self._index[positions]
            return np.array(self._values.take(pa.array(chosen)).to_pylist(), dtype=object)
        values = np.array(self._values[positions if self._index is None else self._index[positions]])
        self._touched += values.nbytes + len(values) * FAULT_BYTES
        if self._touched > RELEASE_BYTES:
            self._touched = 0
            release(self._mapped)
        return values


def release(mapped: mmap.mmap) -> None:
    """Give the pages of a mapped file back; they are read again when they are needed."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _column_of(source: Any) -> Any:
    return pa.ipc.open_file(source).get_batch(0).column(0)


def _numbers(column: Any, dtype: str, shape: Sequence[int]) -> Array:
    if math.prod(shape) == 0:
        return np.empty((len(column), *shape), dtype)
    values = column.flatten() if shape else column
    made: Array = values.to_numpy(zero_copy_only=True).view(dtype).reshape(-1, *shape)
    return made


def _number_column(values: Array) -> Any:
    width = math.prod(values.shape[1:])
    if width == 0:
        return pa.nulls(len(values))
    flat = np.ascontiguousarray(values).reshape(-1)
    stored = pa.array(flat.view(STORED.get(str(values.dtype), values.dtype)))
    return stored if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(stored, width)


def _text_column(values: Array) -> Any:
    return pa.array(values.tolist(), type=pa.large_string())
