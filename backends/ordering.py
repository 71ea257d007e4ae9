"""The order of rows where it is not an even one: rows drawn by weights, and easy rows before hard ones.

Like the plain stream, these are functions of (seed, identities, step): no draw depends on what was drawn before.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.backends.base import Columns, Streams
from etude.backends.batches import Ids, Indices, JoinedStreams, NoRowsError, Stream, batch_rows, epoch_order, mix64
from etude.backends.numpy.random import fold

Json = Any
Numbers = NDArray[np.float64]
Pool = Callable[[int], int]
_COPY = 0x9E3779B97F4A7C15


class WeightsError(Exception):
    """The weights of rows are no weights; the message says what is wrong."""


class RoundStream(Stream):
    """Rounds as one stream: each is a permuted pass over the easiest rows, as many as there are when it begins.

    `pool` says how many rows there are at a step; `difficulty` orders them. With `weights` a round has as many rows as
    its pool, each as often as its share of the weights says, rounded up or down by a draw of the round.
    """

    def __init__(
        self,
        ids: Ids,
        batch: int,
        seed: int,
        *,
        weights: Numbers | None = None,
        difficulty: Numbers | None = None,
        pool: Pool | None = None,
        spans: bool = False,
    ) -> None:
        super().__init__(ids, batch, seed, spans=spans)
        self._weights = None if weights is None else checked_weights(weights)
        self._easy = np.arange(len(ids)) if difficulty is None else easiest_first(difficulty, ids)
        self._pool = pool or (lambda step: len(ids))
        self._starts, self._sizes = [0], [self._size(0)]

    def indices(self, step: int, count: int = 1) -> Indices:
        first, missing = step * self.batch, count * self.batch
        parts = []
        while missing:
            number = self._round_at(first)
            start = first - self._starts[number]
            parts.append(self._order(number)[start : start + missing])
            first, missing = first + len(parts[-1]), missing - len(parts[-1])
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _size(self, position: int) -> int:
        return min(len(self.ids), max(1, self._pool(position // self.batch)))

    def _round_at(self, position: int) -> int:
        """The number of the round that a position of the stream lies in."""
        while position >= self._starts[-1] + self._sizes[-1]:
            self._starts.append(self._starts[-1] + self._sizes[-1])
            self._sizes.append(self._size(self._starts[-1]))
        return bisect_right(self._starts, position) - 1

    def _order(self, epoch: int) -> Indices:
        if epoch not in self._orders:
            if len(self._orders) > 1:
                del self._orders[min(self._orders)]
            self._orders[epoch] = self._drawn(epoch)
        return self._orders[epoch]

    def _drawn(self, number: int) -> Indices:
        rows = np.sort(self._easy[: self._sizes[number]])
        if self._weights is None:
            return rows[epoch_order(self.ids[rows], self.seed, number)]
        if not self._weights[rows].any():
            raise WeightsError(f"the weights of the {len(rows)} easiest rows are all 0: there is nothing to draw")
        counts = shares(self._weights[rows], fold(self.seed, number) / 2**32)
        chosen = np.repeat(rows, counts)
        copies = np.arange(len(chosen)) - np.repeat(np.cumsum(counts) - counts, counts)
        ids = np.where(
            copies == 0, self.ids[chosen], mix64(self.ids[chosen] + copies.astype(np.uint64) * np.uint64(_COPY))
        )
        return chosen[epoch_order(ids, self.seed, number)]


def shares(weights: Numbers, draw: float) -> NDArray[np.int64]:
    """How often each row comes among as many rows: its share of the weights, rounded so that the sum is kept.

    `draw`, from 0 to 1, decides about the rounding; over all draws each row comes as often as its weight says.

    >>> shares(np.array([1.0, 1.0, 2.0]), 0.5).tolist()
    [1, 0, 2]
    """
    ends = np.cumsum(weights) * (len(weights) / weights.sum())
    ends[-1] = len(weights)
    counted = np.ceil(ends - draw).astype(np.int64)
    counted[-1] = len(weights)
    counts: NDArray[np.int64] = np.diff(counted, prepend=0)
    return counts


def checked_weights(weights: Numbers) -> Numbers:
    """The weights. Raises `WeightsError` for negative ones, or where there is nothing to draw."""
    if not np.isfinite(weights).all() or (weights < 0).any():
        row = int(np.flatnonzero(~np.isfinite(weights) | (weights < 0))[0])
        raise WeightsError(f"the weight of row {row} is {weights[row]:g}: expected a number from 0 on")
    if not weights.sum():
        raise WeightsError("the weights of all rows are 0: there is nothing to draw")
    return weights


def easiest_first(difficulty: Numbers, ids: Ids) -> Indices:
    """Positions by rising difficulty, equal ones by a hash of their identity; what is not a number comes last."""
    return np.lexsort((mix64(ids), difficulty))


def growing_pool(order: Mapping[str, Json], rows: int, batch: int, first: int, steps: int) -> Pool:
    """How many rows there are at a step: a share that grows from `start` to all at `until`, never below a batch.

    With `power` p the p-th power of the share grows linearly (Platanios et al. 2019 have p = 2).
    """
    start, until, power = (float(order[name]) for name in ("start", "until", "power"))

    def pool(step: int) -> int:
        done = 1.0 if until == 0 else min(1.0, max(0, step - first) / max(1, steps - first) / until)
        share: float = (start**power + (1.0 - start**power) * done) ** (1.0 / power)
        return max(batch, math.ceil(round(share * rows, 9)))

    return pool


def stream_of(
    spec: Mapping[str, Json], ids: Ids | Streams, data: Columns, first: int, steps: int
) -> Stream | JoinedStreams:
    """The order of the rows of a train stage, of which `first` of `steps` are done. Raises `WeightsError`."""
    batch, seed = spec["batch"], spec["seed"]
    weights, order = spec.get("weights") or {}, spec.get("order") or {}
    if not weights and not order:
        return JoinedStreams(ids, batch, seed) if isinstance(ids, Mapping) else Stream(ids, batch, seed)

    def ordered(name: str, rows: Ids, size: int, own_seed: int, spans: bool) -> Stream:
        column, easy = weights.get(name), order.get(name)
        if column is None and easy is None:
            return Stream(rows, size, own_seed, spans=spans)
        if not len(rows):
            raise NoRowsError("train on")
        pool = growing_pool(easy, len(rows), batch_rows(size, len(rows)), first, steps) if easy else None
        return RoundStream(
            rows,
            size,
            own_seed,
            weights=None if column is None else numbers(data, name, column),
            difficulty=None if easy is None else numbers(data, name, easy["column"]),
            pool=pool,
            spans=spans,
        )

    if not isinstance(ids, Mapping):
        return ordered("", ids, batch, seed, False)
    return JoinedStreams(ids, batch, seed, lambda name, rows, size, own: ordered(name, rows, size, own, True))


def numbers(data: Columns, stream: str, column: str) -> Numbers:
    """A column of numbers of a data set, or of one of several."""
    return np.asarray(data[f"{stream}.{column}" if stream else column], dtype=np.float64)
