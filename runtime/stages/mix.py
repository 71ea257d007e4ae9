"""`mix`: the rows of several datasets interleaved in fixed shares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from etude.backends.batches import Ids, Indices
from etude.backends.numpy.random import fold
from etude.runtime.sampling import hashed_order
from etude.runtime.stages import Job, Result, StageError, data_result
from etude.runtime.stages.union import appended


def execute(job: Job) -> Result:
    """Interleave the inputs, each in a random order; a dataset that runs out begins anew in another. With no `count`
    the mixture ends before the first does. Raises `StageError`."""
    datasets, spec = [job.dataset(index) for index in range(len(job.inputs))], job.spec
    for index, dataset in enumerate(datasets):
        if not dataset.rows:
            raise StageError(f"dataset {index + 1} of the mixture has no rows")
    shares = spec["shares"]
    count = spec["count"]
    if count is None:
        count = most_rows([dataset.rows for dataset in datasets], shares)
    starts = np.cumsum([0, *(dataset.rows for dataset in datasets)])
    sources, turns = interleaved(shares, count)
    rows = np.empty(count, np.int64)
    for index, dataset in enumerate(datasets):
        mine = sources == index
        order = repeated_order(dataset.ids, fold(spec["seed"], index), int(mine.sum()))
        rows[mine] = starts[index] + order[turns[mine]]
    mixed = reduce(appended, datasets).select(rows)
    return data_result(mixed, rows=mixed.rows)


def most_rows(rows: Sequence[int], shares: Sequence[float]) -> int:
    """The length of the longest mixture in which no row comes twice.

    >>> most_rows([70, 100], [0.7, 0.3])
    100
    """
    longest = int(max(1, min(count / share for count, share in zip(rows, shares, strict=True)) + 1))
    sources, turns = interleaved(shares, longest)
    over = np.flatnonzero(turns >= np.asarray(rows)[sources])
    return int(over[0]) if len(over) else longest


def interleaved(shares: Sequence[float], count: int) -> tuple[Indices, Indices]:
    """For each of `count` places which dataset it is of, and the how manieth of that one: every beginning of the
    mixture has the shares, rounded.

    >>> interleaved([0.75, 0.25], 8)[0].tolist()
    [0, 0, 1, 0, 0, 0, 1, 0]
    """
    times, sources, turns = [], [], []
    for index, share in enumerate(shares):
        number = np.arange(int(count * share) + 2)
        times.append((number + 0.5) / share)
        sources.append(np.full(len(number), index))
        turns.append(number)
    order = np.argsort(np.concatenate(times), kind="stable")[:count]
    return np.concatenate(sources)[order], np.concatenate(turns)[order]


def repeated_order(ids: Ids, seed: int, count: int) -> Indices:
    """`count` rows: all of them in a random order, then all in another, and so on."""
    passes = -(-count // len(ids))
    orders = [hashed_order(ids, fold(seed, each)) for each in range(max(1, passes))]
    return np.concatenate(orders)[:count]
