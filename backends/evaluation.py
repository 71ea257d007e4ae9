"""Averages over rows: what a measurement of many batches comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from etude.backends.base import Array


def appended(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The outputs of consecutive pieces as one array each."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def weighted_average(counts: Sequence[int], values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of per-batch means, each batch weighted by its rows.

    >>> weighted_average([3, 1], [{"loss": 1.0}, {"loss": 5.0}])
    {'loss': 2.0}
    """
    total = sum(counts)
    return {
        name: sum(count * value[name] for count, value in zip(counts, values, strict=True)) / total
        for name in values[0]
    }


def row_average(values: Mapping[str, Array]) -> dict[str, float]:
    """The mean of each output over its rows, in float64; booleans count as 0 and 1.

    >>> row_average({"accuracy": np.array([True, False])})
    {'accuracy': 0.5}
    """
    return {name: float(np.mean(rows, axis=0, dtype=np.float64)) for name, rows in values.items()}
