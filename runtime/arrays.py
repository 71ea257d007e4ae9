"""Arrays in files: one Arrow IPC file per array, memory-mapped when it is read."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etude.runtime.store import Objects

Array = NDArray[Any]

BLOCK_BYTES = 16 << 20
RELEASE_BYTES = 64 << 20
PIECE_BYTES = 1 << 20  # copied at a time: a temporary that stays in the processor's cache
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

    Rows are read in the order of the file, whatever the order they are asked for in. What was mapped is given back
    about every 64 MiB, so that a pass over a file larger than memory stays small.
    """

    def __init__(self, objects: Objects, hash: str, dtype: str, shape: Sequence[int], index: Array | None) -> None:
        with objects.path(hash).open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        column = _column_of(pa.py_buffer(self._mapped))
        self._values = column if dtype == "text" else _numbers(column, dtype, shape)
        self._index, self._touched, self._is_cold = index, 0, False
        self.dtype = np.dtype(object if dtype == "text" else dtype)
        self.shape = (len(column) if index is None else len(index), *shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, positions: Array | slice) -> Array:
        """The rows at `positions`, [positions, ...]."""
        if isinstance(positions, slice):
            positions = np.arange(*positions.indices(len(self)))
        found = np.empty((len(positions), *self.shape[1:]), self.dtype)
        self.read_into(positions, found)
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """All rows, in memory."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def read_into(self, positions: Array, out: Array) -> None:
        """Fill `out` [positions, ...] with the rows at `positions`, converted to its dtype."""
        places = positions if self._index is None else self._index[positions]
        if self.dtype == object:
            out[:] = self._values.take(pa.array(places)).to_pylist()
            return
        is_ascending = bool((places[1:] > places[:-1]).all())
        order = None if is_ascending else np.argsort(places, kind="stable")
        faults = _major_faults()
        for part in _parts(len(places), PIECE_BYTES // max(1, self._row_bytes)):
            where = part if order is None else order[part]
            self._copy(places[where], where, out, is_ascending=is_ascending)
        self._is_cold = _major_faults() > faults

    @property
    def _row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def _copy(self, places: Array, where: Any, out: Array, *, is_ascending: bool) -> None:
        """Copy rows at places that do not fall; the system is told of them first if it was slow before."""
        first, last = int(places[0]), int(places[-1]) + 1
        if self._is_cold:
            self._announce(places)
        out[where] = self._values[first:last] if is_ascending and last - first == len(places) else self._values[places]
        self._touched += min(last - first, len(places)) * self._row_bytes
        self._touched += min((last - first) * self._row_bytes, len(places) * FAULT_BYTES)
        if self._touched > RELEASE_BYTES:
            self._touched = 0
            release(self._mapped)

    def _announce(self, places: Array) -> None:
        """Ask the system to read these rows, all at once and not one after the other."""
        if not self._row_bytes or not hasattr(mmap, "MADV_WILLNEED"):
            return
        offset = self._values.ctypes.data - np.frombuffer(self._mapped, np.uint8).ctypes.data
        starts = (offset + places * self._row_bytes) // mmap.PAGESIZE
        ends = (offset + (places + 1) * self._row_bytes - 1) // mmap.PAGESIZE + 1
        breaks = np.flatnonzero(starts[1:] > ends[:-1]) + 1
        for start, end in zip(starts[np.r_[0, breaks]], ends[np.r_[breaks - 1, -1]], strict=True):
            self._mapped.madvise(mmap.MADV_WILLNEED, int(start) * mmap.PAGESIZE, int(end - start) * mmap.PAGESIZE)


def _parts(rows: int, size: int) -> Iterator[slice]:
    for start in range(0, rows, max(1, size)):
        yield slice(start, start + max(1, size))


def _major_faults() -> int:
    """How often this thread has waited for a page to be read; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    thread = getattr(resource, "RUSAGE_THREAD", None)
    return 0 if thread is None else resource.getrusage(thread).ru_majflt


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
