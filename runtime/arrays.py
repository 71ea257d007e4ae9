"""Arrays in files: one Arrow IPC file per array, memory-mapped when it is read."""

from __future__ import annotations

import math
import mmap
import os
import weakref
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
NEAR = 4  # so many rows within that, and mapping it is cheaper than a call for each
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

    Rows are read in the order of the file, whatever the order they are asked for in. Those that lie far from each other
    are copied by the system, a call for each: to map a page takes longer than to copy a row. Others are copied from the
    mapped file; that is given back about every 64 MiB, so that a pass over a file larger than memory stays small.
    """

    def __init__(self, objects: Objects, hash: str, dtype: str, shape: Sequence[int], index: Array | None) -> None:
        file = os.open(objects.path(hash), os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, file)
        self._file, self._mapped = file, mmap.mmap(file, 0, access=mmap.ACCESS_READ)
        column = _column_of(pa.py_buffer(self._mapped))
        self._values = column if dtype == "text" else _numbers(column, dtype, shape)
        self._index, self._touched = index, 0
        self.dtype = np.dtype(object if dtype == "text" else dtype)
        self.shape = (len(column) if index is None else len(index), *shape)
        self._row_bytes = self.dtype.itemsize * math.prod(shape)
        self._start = 0 if dtype == "text" else _address(self._values) - _address(np.frombuffer(self._mapped, np.uint8))

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
        is_rising = bool((places[1:] > places[:-1]).all())
        order = None if is_rising else np.argsort(places, kind="stable")
        for part in _parts(len(places), PIECE_BYTES // max(1, self._row_bytes)):
            where = np.arange(part.start, min(part.stop, len(places))) if order is None else order[part]
            self._read(places[where], where, out, is_rising=is_rising)

    def _read(self, places: Array, where: Array, out: Array, *, is_rising: bool) -> None:
        """Put the rows at places that do not fall where they belong."""
        span = int(places[-1] - places[0]) + 1
        is_run = is_rising and span == len(places)
        if not self._row_bytes or not hasattr(os, "preadv"):
            out[where] = self._values[places]
        elif is_run or len(places) * FAULT_BYTES < NEAR * span * self._row_bytes:
            is_direct = out.dtype == self.dtype and out.flags.c_contiguous
            made = out if is_direct else np.empty((len(places), *self.shape[1:]), self.dtype)
            targets = where if is_direct else np.arange(len(places))
            self._copy(places, targets, made.reshape(-1).view(np.uint8).data, is_run=is_run)
            if not is_direct:
                out[where] = made
        else:
            out[where] = self._values[places]
            self._touched += span * self._row_bytes
            if self._touched > RELEASE_BYTES:
                self._touched = 0
                release(self._mapped)

    def _copy(self, places: Array, targets: Array, out: memoryview, *, is_run: bool) -> None:
        """Copy rows one by one, or all at once; where the first is not there yet, the system is told of all of them."""
        size = self._row_bytes * (len(places) if is_run else 1)
        few = slice(1 if is_run else None)
        starts = (self._start + places[few] * self._row_bytes).tolist()
        if not is_run and not self._is_there(starts[0]):
            self._announce(starts)
        for start, target in zip(starts, (targets[few] * self._row_bytes).tolist(), strict=True):
            done = os.preadv(self._file, [out[target : target + size]], start)
            while done < size:  # a call gives up to 2 GiB
                more = os.preadv(self._file, [out[target + done : target + size]], start + done)
                if not more:
                    raise OSError("the file of a column ends before its rows do")
                done += more

    def _is_there(self, start: int) -> bool:
        """Whether a byte can be read without waiting for the disk, as far as the system says."""
        flag = getattr(os, "RWF_NOWAIT", 0)
        try:
            os.preadv(self._file, [bytearray(1)], start, flag)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a file system that cannot tell
        return True

    def _announce(self, starts: Sequence[int]) -> None:
        """Ask the system to read these rows, all at once and not one after the other."""
        for start in starts if hasattr(os, "posix_fadvise") else ():
            os.posix_fadvise(self._file, start, self._row_bytes, os.POSIX_FADV_WILLNEED)


def _address(values: Array) -> int:
    return values.ctypes.data


def _parts(rows: int, size: int) -> Iterator[slice]:
    for start in range(0, rows, max(1, size)):
        yield slice(start, start + max(1, size))


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
