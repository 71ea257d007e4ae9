"""The order of rows, the stream of batches, and how many steps a budget is: the same numbers for every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from etude.backends.numpy.random import fold

Indices = NDArray[np.int64]
Ids = NDArray[np.uint64]
Index = Indices | Mapping[str, Indices]
"""The rows of a batch, of several data sets by the name of the stream."""
S = TypeVar("S")
T = TypeVar("T")

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


class NoRowsError(Exception):
    """A stage was given a dataset without rows; `purpose` is what they were needed for."""

    def __init__(self, purpose: str) -> None:
        super().__init__(f"there are no rows to {purpose}")
        self.purpose = purpose


def mix64(x: Ids) -> Ids:
    """The finalizer of splitmix64 (Steele et al. 2014), elementwise: every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def row_keys(ids: Ids) -> NDArray[np.uint32]:
    """The 32 bits that stand for each row in counter-based draws."""
    return mix64(ids).astype(np.uint32)


def epoch_order(ids: Ids, seed: int, epoch: int) -> Indices:
    """The permutation of an epoch: rows sorted by a hash of (seed, epoch, identity), equal hashes by position."""
    salt = np.array([seed & _MASK], dtype=np.uint64)
    for number in (epoch, 0):
        salt = mix64(salt + np.uint64(_GOLDEN)) + np.uint64(number)
    return np.argsort(mix64(ids ^ salt), kind="stable")


def told_apart(ids: Ids) -> Ids:
    """The identities, but others for rows that come again, as in a mixture: they do not stand side by side in an order.

    >>> ids = np.array([5, 7, 5], np.uint64)
    >>> len(set(told_apart(ids).tolist())), told_apart(ids)[:2].tolist()
    (3, [5, 7])
    """
    order = np.argsort(ids, kind="stable")
    is_new = np.concatenate([[True], ids[order[1:]] != ids[order[:-1]]])
    if is_new.all():
        return ids
    starts = np.flatnonzero(is_new)
    copies = np.empty(len(ids), np.uint64)
    copies[order] = np.arange(len(ids)) - np.repeat(starts, np.diff(np.append(starts, len(ids))))
    return np.where(copies == 0, ids, mix64(ids + copies * np.uint64(_GOLDEN)))


def batch_rows(batch: int, rows: int) -> int:
    """Rows of one batch: never more than there are."""
    return min(batch, rows)


def steps_in(budget: Mapping[str, Any], rows: int, batch: int) -> int:
    """Steps of a duration such as {"epochs": 20, "min_steps": 200}: the largest of its parts, at least one step.

    A batch has `min(batch, rows)` rows; a part of a batch counts as a step.

    >>> steps_in({"epochs": 3}, rows=100, batch=64)
    5
    >>> steps_in({"epochs": 20, "min_steps": 200}, rows=100, batch=64)
    200
    """
    size = batch_rows(batch, rows)
    parts = [_steps(unit, Fraction(str(amount)), rows, size) for unit, amount in budget.items()]
    return max(1, *parts)


def _steps(unit: str, amount: Fraction, rows: int, size: int) -> int:
    match unit:
        case "steps" | "min_steps":
            return -(-amount // 1)
        case "epochs":
            return -(-amount * rows // size)
        case "examples":
            return -(-amount // size)
        case _:
            raise ValueError(f"a budget is given in steps, epochs or examples, got {unit!r}")


class Stream:
    """Epochs as one endless permuted stream: step s takes positions [s * batch, (s + 1) * batch).

    A batch is at most an epoch, unless it `spans` as many as it takes.
    """

    def __init__(self, ids: Ids, batch: int, seed: int, *, spans: bool = False) -> None:
        if not len(ids):
            raise NoRowsError("train on")
        self.ids, self.seed, self.batch = told_apart(ids), seed, batch if spans else batch_rows(batch, len(ids))
        self._orders: dict[int, Indices] = {}

    def indices(self, step: int, count: int = 1) -> Indices:
        """Row indices (batch,) of a step, or (count * batch,) of several; a batch may straddle epochs."""
        epoch, start = divmod(step * self.batch, len(self.ids))
        parts, missing = [], count * self.batch
        while missing:
            parts.append(self._order(epoch)[start : start + missing])
            missing -= len(parts[-1])
            epoch, start = epoch + 1, 0
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _order(self, epoch: int) -> Indices:
        if epoch not in self._orders:
            if len(self._orders) > 1:
                del self._orders[min(self._orders)]
            self._orders[epoch] = epoch_order(self.ids, self.seed, epoch)
        return self._orders[epoch]


class JoinedStreams:
    """The streams of several data sets: batches of one size, which the first can give, in orders of their own.

    An epoch is one of the first; the others go round as often as they have to.
    """

    def __init__(self, ids: Mapping[str, Ids], batch: int, seed: int, make: MakeStream | None = None) -> None:
        first = next(iter(ids.values()))
        size, made = batch_rows(batch, len(first)), make or _spanning
        self.streams = {
            name: made(name, rows, size, stream_seed(seed, ordinal)) for ordinal, (name, rows) in enumerate(ids.items())
        }

    @property
    def batch(self) -> int:
        """The rows of a step, of each stream."""
        return next(iter(self.streams.values())).batch

    def indices(self, step: int, count: int = 1) -> dict[str, Indices]:
        """Row indices (batch,) of a step, or (count * batch,) of several, by the name of the stream."""
        return {name: stream.indices(step, count) for name, stream in self.streams.items()}


def _spanning(name: str, ids: Ids, batch: int, seed: int) -> Stream:
    return Stream(ids, batch, seed, spans=True)


MakeStream = Callable[[str, Ids, int, int], Stream]
"""The stream of a data set, by its name, its rows, the size of a batch, and its seed."""


def stream_seed(seed: int, ordinal: int) -> int:
    """The seed of the order of one of several data sets."""
    return fold(seed, ordinal)


def by_stream(function: Callable[[S], T], values: S | Mapping[str, S]) -> T | dict[str, T]:
    """What `function` makes of the value of the only data set, or of that of each stream."""
    if isinstance(values, Mapping):
        return {name: function(value) for name, value in values.items()}
    return function(values)


def of_stream(values: T | Mapping[str, T], column: str) -> T:
    """What belongs to the stream of a column, of values by stream; a value of the only data set is that of all.

    >>> of_stream({"labelled": 3, "unlabelled": 4}, "unlabelled.image"), of_stream(5, "image")
    (4, 5)
    """
    return values[column.partition(".")[0]] if isinstance(values, Mapping) else values


def first_rows(values: T | Mapping[str, T]) -> T:
    """What belongs to the rows that are counted: those of the only data set, or of the first."""
    return next(iter(values.values())) if isinstance(values, Mapping) else values


def ordered_batches(rows: int | Mapping[str, int], size: int) -> Iterator[tuple[int, Index]]:
    """All rows once and in order, in batches of at most `size`, each with its number of rows.

    Of several data sets all rows of the first one, and as many of the others, which start anew after their last one.
    """
    first = rows if isinstance(rows, int) else next(iter(rows.values()))
    for part in chunks(first, batch_rows(size, first)):
        positions = np.arange(part.start, part.stop)
        index = positions if isinstance(rows, int) else {name: positions % count for name, count in rows.items()}
        yield len(positions), index


def chunks(rows: int, size: int) -> Iterator[slice]:
    """Sequential slices of at most `size` rows that cover all rows once."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
