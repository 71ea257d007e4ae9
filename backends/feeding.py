"""Where batches come from: columns that lie on the device where they fit, and otherwise are read ahead of the steps.

What is read, and in which order, is the same either way; so are all numbers.
"""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from etude.backends.base import Array, ColumnRows
from etude.backends.batches import Index, Indices, JoinedStreams, Stream, by_stream, chunks, of_stream

T = TypeVar("T")

VARIABLE = "ETUDE_RESIDENT_BYTES"
HOST_SHARE, HOST_MOST = 8, 512 << 20
DEVICE_SHARE = 4
PIECE_BYTES = 16 << 20
AHEAD = 2


def host_limit() -> int:
    """Bytes of columns that a stage holds in the host's memory: an eighth of what is free, at most 512 MiB."""
    return limit(min(HOST_MOST, free_memory() // HOST_SHARE))


def device_limit(free: int) -> int:
    """Bytes of columns that a stage holds in an accelerator's memory: a quarter of what is free."""
    return limit(free // DEVICE_SHARE)


def limit(bytes: int) -> int:
    """`bytes`, or what the environment variable ETUDE_RESIDENT_BYTES says."""
    given = os.environ.get(VARIABLE)
    return int(given) if given else bytes


def free_memory() -> int:
    """Bytes that this process may still take, as far as the system says."""
    lines = _text("/proc/meminfo").splitlines()
    free = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")] or [4 << 30]
    most, used = (_text(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    return min(free[0], int(most) - int(used)) if most.isdigit() and used.isdigit() else free[0]


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


class Buffers(Protocol):
    """Where a framework wants rows to be put before they go to its device."""

    def __call__(self, shape: tuple[int, ...], dtype: str) -> tuple[Any, Array]:
        """An array of the framework on the host, and numpy's view of it. Called in threads."""
        ...


def numpy_buffers(shape: tuple[int, ...], dtype: str) -> tuple[Any, Array]:
    """Buffers of frameworks that take numpy's arrays."""
    made: Array = np.empty(shape, dtype)
    return made, made


class Table(Mapping[str, ColumnRows]):
    """The columns that programs read, wherever they lie, each with the dtype that the programs expect."""

    def __init__(self, columns: Mapping[str, ColumnRows], dtypes: Mapping[str, str]) -> None:
        self._columns, self.dtypes = {name: columns[name] for name in dtypes}, dict(dtypes)

    def __getitem__(self, name: str) -> ColumnRows:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def row_bytes(self) -> int:
        """Bytes of a row, of all streams together."""
        return sum(self._size(name, 1) for name in self)

    def bytes(self) -> int:
        """Bytes of all rows."""
        return sum(self._size(name, len(self[name])) for name in self)

    def _size(self, name: str, rows: int) -> int:
        return math.prod((rows, *self[name].shape[1:])) * np.dtype(self.dtypes[name]).itemsize

    def arrays(self) -> dict[str, Array]:
        """All of it in memory, contiguous."""
        return {name: np.asarray(self[name], dtype=self.dtypes[name], order="C") for name in self}

    def read(self, index: Index, buffers: Buffers) -> Batch:
        """The rows at some positions, in arrays of a framework on the host."""
        made = {}
        for name, dtype in self.dtypes.items():
            column, positions = self[name], of_stream(index, name)
            made[name], view = buffers((len(positions), *column.shape[1:]), dtype)
            read_into(column, positions, view)
        return Batch(made, by_stream(len, index))


def read_into(column: ColumnRows, positions: Indices, out: Array) -> None:
    """Fill `out` with the rows of a column at `positions`."""
    if hasattr(column, "read_into"):
        column.read_into(positions, out)
    else:
        out[...] = column[positions]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that have been read already: what a step is given in the place of their positions.

    `rows` is how many there are, of several data sets by the name of the stream.
    """

    columns: dict[str, Any]
    rows: int | Mapping[str, int]

    def part(self, start: int, stop: int) -> Batch:
        """Some of the rows, of every stream the same."""
        columns = {name: column[start:stop] for name, column in self.columns.items()}
        return Batch(columns, by_stream(lambda _: stop - start, self.rows))

    def followed_by(self, other: Batch) -> Batch:
        """The rows of both, one after the other; only of arrays of numpy."""
        columns = {name: np.concatenate([column, other.columns[name]]) for name, column in self.columns.items()}
        counts = other.rows
        if isinstance(self.rows, Mapping):
            return Batch(columns, {name: rows + of_stream(counts, name) for name, rows in self.rows.items()})
        return Batch(columns, self.rows + of_stream(counts, ""))


class ReadAhead:
    """A stream whose batches are read from files in the background, a few MiB at once, in the order of the steps.

    A step may be asked for again, or out of turn: then reading starts anew there.
    """

    def __init__(self, stream: Stream | JoinedStreams, table: Table, last: int, buffers: Buffers) -> None:
        self._stream, self._table, self._last, self._buffers = stream, table, last, buffers
        self._batch = stream.batch
        self._most = max(1, PIECE_BYTES // max(1, self._batch * table.row_bytes()))
        self._first, self._next, self._piece = 0, 0, Batch({}, 0)
        self._pieces: Ahead[tuple[int, int, Batch]] | None = None

    def indices(self, step: int, count: int = 1) -> Batch:
        """The rows of `count` steps, one after the other."""
        if not self._first <= step < self._next:
            self._advance(step)
        stop = min(step + count, self._next)
        start = (step - self._first) * self._batch
        part = self._piece.part(start, start + (stop - step) * self._batch)
        return part if stop == step + count else part.followed_by(self.indices(stop, step + count - stop))

    def close(self) -> None:
        """End the reading."""
        if self._pieces is not None:
            self._pieces.close()
            self._pieces = None

    def _advance(self, step: int) -> None:
        if self._pieces is None or step != self._next:
            self.close()
            self._pieces = Ahead(self._read(step))
        self._piece = Batch({}, 0)  # given back before the next one is waited for
        self._first, self._next, self._piece = next(self._pieces)

    def _read(self, step: int) -> Iterator[tuple[int, int, Batch]]:
        """Pieces that begin with one step, so that the first need not wait, and double from there."""
        count = 1
        while step < self._last:
            count = min(count, self._last - step)
            yield step, step + count, self._table.read(self._stream.indices(step, count), self._buffers)
            step, count = step + count, min(2 * count, self._most)


class Ahead(Iterator[T]):
    """The items of an iterator, made by a thread a few at a time before they are asked for.

    Order and exceptions are the iterator's; `close` waits until the thread is done with the item that it is making.
    """

    def __init__(self, items: Iterator[T], depth: int = AHEAD) -> None:
        self._items, self._room = items, threading.Semaphore(depth)
        self._ready: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        if self._is_closed:
            raise StopIteration
        give = self._ready.get()
        try:
            item = give()
        except BaseException:
            self.close()
            raise
        self._room.release()
        return item

    def close(self) -> None:
        self._is_closed = True
        self._room.release()
        self._thread.join()

    def _work(self) -> None:
        while True:
            self._room.acquire()
            if self._is_closed:
                return
            try:
                item = next(self._items)
            except BaseException as error:
                self._ready.put(_raising(error))
                return
            self._ready.put(_returning(item))
            del item


def _raising(error: BaseException) -> Callable[[], Any]:
    def give() -> Any:
        raise error

    return give


def _returning(item: T) -> Callable[[], T]:
    return lambda: item


def read_batches(
    batches: Iterator[tuple[int, Index]], source: Table | None, buffers: Buffers
) -> Iterator[tuple[int, Index | Batch]]:
    """The positions of batches as they are, or the rows there, read ahead, where there is a table to read them from."""
    if source is None:
        return batches
    return ahead((count, source.read(index, buffers)) for count, index in batches)


def pieces(table: Table, rows: int, batch: int, row_bytes: int) -> Iterator[tuple[slice, dict[str, Array]]]:
    """All rows of the only data set in order, in memory: a few MiB at a time, each but the last of whole batches."""
    size = batch * max(1, PIECE_BYTES // max(1, batch * row_bytes))
    read = ((part, table.read(np.arange(part.start, part.stop), numpy_buffers).columns) for part in chunks(rows, size))
    return read if rows <= size else ahead(read)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items of an iterator, made in a thread; it ends when this one is closed."""
    made = Ahead(items)
    try:
        yield from made
    finally:
        made.close()
