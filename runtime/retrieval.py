"""Metrics of rankings: each row is a query with a score for each candidate, and the candidates that are relevant.

`relevant` is the position of the only relevant candidate, or a number for each: 0 for one that is not, and its gain.
Equal scores keep the order of the candidates.
"""

from __future__ import annotations

import numpy as np

from etude.runtime.arrays import Array
from etude.runtime.stages import StageError


def recall_at_k(scores: Array, relevant: Array, k: int) -> float | None:
    """The share of the relevant candidates that is among the `k` best, over queries that have some."""
    gains = _ranked(scores, relevant) > 0
    counts = gains.sum(axis=1)
    return _mean(gains[:, :k].sum(axis=1)[counts > 0] / counts[counts > 0])


def mrr(scores: Array, relevant: Array) -> float | None:
    """The mean of 1 / the rank of the first relevant candidate; 0 for a query that has none."""
    gains = _ranked(scores, relevant) > 0
    return _mean(np.where(gains.any(axis=1), 1 / (gains.argmax(axis=1) + 1), 0.0))


def ndcg(scores: Array, relevant: Array, k: int) -> float | None:
    """The discounted gain of the `k` best by that of the best order (Jarvelin and Kekalainen 2002)."""
    gains = _ranked(scores, relevant)
    best = -np.sort(-gains, axis=1)
    discounts = 1 / np.log2(np.arange(2, gains.shape[1] + 2))
    found, ideal = ((each * discounts)[:, :k].sum(axis=1) for each in (gains, best))
    return _mean(found[ideal > 0] / ideal[ideal > 0])


def mean_average_precision(scores: Array, relevant: Array) -> float | None:
    """The mean over queries of the precision at each relevant candidate, over queries that have some."""
    gains = _ranked(scores, relevant) > 0
    precision = gains.cumsum(axis=1) / np.arange(1, gains.shape[1] + 1)
    counts = gains.sum(axis=1)
    return _mean((precision * gains).sum(axis=1)[counts > 0] / counts[counts > 0])


def retrieval_recall(queries: Array, keys: Array, k: int) -> float | None:
    """The share of rows whose own key is among the `k` that are most similar to their query, by the inner product."""
    if queries.shape != keys.shape or queries.ndim != 2:
        raise StageError(f"retrieval_recall: expected two vectors of one length, got {_row(queries)} and {_row(keys)}")
    found = 0
    for start in range(0, len(queries), BLOCK):
        part = np.arange(start, min(start + BLOCK, len(queries)))
        similar = queries[part].astype(np.float64) @ keys.T.astype(np.float64)
        own = similar[np.arange(len(part)), part][:, np.newaxis]
        is_before = np.arange(len(keys)) < part[:, np.newaxis]
        found += int((((similar > own) | ((similar == own) & is_before)).sum(axis=1) < k).sum())
    return found / len(queries)


BLOCK = 1024


def _ranked(scores: Array, relevant: Array) -> Array:
    """The gains of the candidates of each query, best score first."""
    if scores.ndim != 2:
        raise StageError(f"expected a score for each candidate as 'scores', got {_row(scores)}")
    if relevant.ndim == 1:
        if relevant.dtype.kind == "f" or ((relevant < 0) | (relevant >= scores.shape[1])).any():
            raise StageError(f"expected positions below {scores.shape[1]}, or a number for each candidate")
        relevant = np.arange(scores.shape[1]) == relevant[:, np.newaxis]
    if relevant.shape != scores.shape:
        raise StageError(f"expected a number for each of {scores.shape[1]} candidates, got {_row(relevant)}")
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(relevant.astype(np.float64), order, axis=1)


def _row(values: Array) -> list[int]:
    return list(values.shape[1:])


def _mean(values: Array) -> float | None:
    return float(np.mean(values)) if len(values) else None
