"""Metrics of a whole set of rows, computed with scikit-learn: what `measure` gives its collected columns to.

Each takes arrays with one entry per row, in the order of its parameters in the language, and gives None where the
metric does not exist for these rows: on none at all, on one class, on constant numbers.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from etude.compiler.builtins.measuring_sets import METRICS as DECLARED
from etude.compiler.builtins.measuring_sets import TEXTS
from etude.runtime.arrays import Array
from etude.runtime.stages import StageError

Json = Any


# Parameters that may have a vector for each row; of all others there is one number.
VECTORS = {"scores", "probabilities", "embeddings", "relevant", "queries", "keys", "references"}


def metric(name: str, inputs: Sequence[Array], settings: Mapping[str, Json]) -> Json:
    """The metric called `name`: a number, or a list with an entry for each class; None on no rows.

    Raises `StageError` for values that are not finite or do not fit.
    """
    inputs = inputs if name in ELSEWHERE else _one_place_a_row(inputs)
    for parameter, values in zip(DECLARED[name][0], inputs, strict=True):
        if values.ndim > (2 if parameter in VECTORS or name in TEXTS else 1):
            raise StageError(f"{name}: expected one number a row as '{parameter}', got {list(values.shape[1:])}")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise StageError(f"{name}: a number of '{parameter}' is not finite")
    if not len(inputs[0]):
        return None
    value = _function(name)(*inputs, **settings)
    if isinstance(value, np.ndarray):
        return _listed(value)
    return None if value is None or not math.isfinite(value) else float(value)


def _one_place_a_row(inputs: Sequence[Array]) -> Sequence[Array]:
    """Where rows have labels for several places, as a text has for its tokens, each place counts as a row.

    >>> [values.shape for values in _one_place_a_row([np.zeros((5, 3, 1)), np.zeros((5, 3))])]
    [(15,), (15,)]
    """
    *others, labels = inputs
    places = labels.shape
    if not others or any(values.shape[: labels.ndim] != places for values in others):
        return inputs
    flat = [values.reshape(labels.size, *values.shape[labels.ndim :]) for values in inputs]
    is_single = [values.ndim == 2 and values.shape[1] == 1 for values in flat]
    return [values[:, 0] if single else values for values, single in zip(flat, is_single, strict=True)]


def _listed(values: Array) -> list[Json]:
    """An array as lists; None where there is no number."""
    if values.ndim > 1:
        return [_listed(row) for row in values]
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _auroc(scores: Array, labels: Array) -> float | None:
    """The area under the ROC curve (Hanley and McNeil 1982); of several classes, the mean of one against the rest."""
    from sklearn.metrics import roc_auc_score

    return _mean_over_classes("auroc", roc_auc_score, scores, labels)


def _average_precision(scores: Array, labels: Array) -> float | None:
    from sklearn.metrics import average_precision_score

    return _mean_over_classes("average_precision", average_precision_score, scores, labels)


def _mean_over_classes(name: str, binary: Callable[..., float], scores: Array, labels: Array) -> float | None:
    """The metric of truth values, or its mean over the classes that have a column of scores and rows on both sides."""
    if scores.ndim == 1:
        if not np.isin(labels, (0, 1)).all():
            raise StageError(
                f"{name}: one score a row needs labels 0 and 1; for more classes, give one score per class"
            )
        columns = {1: scores}
    else:
        columns = dict(enumerate(scores.T))
    sides = {label: labels == label for label in columns}
    found = [binary(sides[label], columns[label]) for label in columns if len(np.unique(sides[label])) == 2]
    return float(np.mean(found)) if found else None


def _of_classes(name: str) -> Callable[..., Any]:
    """F1, precision or recall: over the classes that occur, and 0 for one that is never predicted.

    With average = "none" a list of all classes; None for one that has no value, as it never occurs.
    """

    def computed(predictions: Array, labels: Array, average: str, classes: int = 0) -> Any:
        if average == "none":
            return RATIOS[name](_confusion(predictions, labels, classes).astype(np.float64))
        import sklearn.metrics

        if average not in AVERAGES:
            raise StageError(f'{name}: average is one of {", ".join(AVERAGES)}, got "{average}"')
        is_binary = np.isin(labels, (0, 1)).all() and np.isin(predictions, (0, 1)).all()
        if average == "binary" and not is_binary:
            raise StageError(f'{name}: average = "binary" is for labels 0 and 1', hint='average = "macro"')
        labels, predictions = labels.astype(np.int64), predictions.astype(np.int64)
        score = getattr(sklearn.metrics, f"{name}_score")
        return float(score(labels, predictions, average=average, zero_division=0))

    return computed


AVERAGES = ("macro", "micro", "weighted", "binary", "none")


def _confusion(predictions: Array, labels: Array, classes: int) -> Array:
    """How many rows of each class were taken for each, [label, prediction]."""
    for values in (predictions, labels):
        outside = (values < 0) | (values >= classes)
        if outside.any():
            raise StageError(f"expected classes below {classes}, got {values[outside][0]}")
    places = labels.astype(np.int64) * classes + predictions.astype(np.int64)
    return np.bincount(places, minlength=classes * classes).reshape(classes, classes)


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, and no number where the whole is nothing."""
    ratios: Array = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratios


RATIOS: Mapping[str, Callable[[Array], Array]] = {
    "precision": lambda counts: _ratio(counts.diagonal(), counts.sum(axis=0)),
    "recall": lambda counts: _ratio(counts.diagonal(), counts.sum(axis=1)),
    "f1": lambda counts: _ratio(2 * counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1)),
}


def _support(labels: Array, classes: int) -> Array:
    """How many rows each class has."""
    return np.bincount(labels.astype(np.int64), minlength=classes)


def _balanced_accuracy(predictions: Array, labels: Array) -> float | None:
    """The mean recall of the classes that occur."""
    return float(np.mean([np.mean(predictions[labels == label] == label) for label in np.unique(labels)]))


def _matthews(predictions: Array, labels: Array) -> float | None:
    """Matthews 1975, and Gorodkin 2004 for several classes."""
    from sklearn.metrics import matthews_corrcoef

    is_constant = len(np.unique(predictions)) == 1 or len(np.unique(labels)) == 1
    return None if is_constant else float(matthews_corrcoef(labels, predictions))


def _r2(predictions: Array, targets: Array) -> float | None:
    from sklearn.metrics import r2_score

    if len(targets) < 2 or _is_constant(targets):
        return None
    return float(r2_score(_wide(targets), _wide(predictions)))


def _pearson(predictions: Array, targets: Array) -> float | None:
    if _is_constant(predictions) or _is_constant(targets):
        return None
    return float(np.corrcoef(_wide(predictions), _wide(targets))[0, 1])


def _spearman(predictions: Array, targets: Array) -> float | None:
    """Pearson's correlation of the ranks; equal values share the mean of theirs."""
    return _pearson(_ranks(predictions), _ranks(targets))


def _ranks(values: Array) -> Array:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def _ece(probabilities: Array, labels: Array, bins: int) -> float | None:
    """Expected calibration error with bins of equal width (Guo et al. 2017); `probabilities` are [rows, classes], or
    of class 1 alone."""
    if probabilities.ndim == 1:
        probabilities = np.stack([1 - probabilities, probabilities], axis=1)
    confidence, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    places = np.clip(np.ceil(_wide(confidence) * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(places, weights=is_right - _wide(confidence), minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def _silhouette(embeddings: Array, labels: Array) -> float | None:
    """Rousseeuw 1987; None unless there are at least two classes, and fewer than rows."""
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(labels)) < len(labels):
        return None
    return float(silhouette_score(embeddings.reshape(len(embeddings), -1), labels))


def _is_constant(values: Array) -> bool:
    return bool(len(values) < 2 or (values == values[0]).all())


def _wide(values: Array) -> Array:
    return values.astype(np.float64)


def _log_loss(probabilities: Array, labels: Array) -> float | None:
    """Minus the mean logarithm of the probability of the label; `probabilities` are [rows, classes], or of class 1."""
    if probabilities.ndim == 1:
        probabilities = np.stack([1 - probabilities, probabilities], axis=1)
    found = _wide(probabilities)[np.arange(len(labels)), labels.astype(np.int64)]
    return float(-np.log(np.clip(found, np.finfo(np.float64).tiny, None)).mean())


def _function(name: str) -> Callable[..., Any]:
    """The function of a metric: of this module, or of one that is imported when it is asked for."""
    if name in METRICS:
        return METRICS[name]
    return getattr(importlib.import_module(f"etude.runtime.{ELSEWHERE[name]}"), name)  # type: ignore[no-any-return]


ELSEWHERE = {
    **dict.fromkeys(["recall_at_k", "mrr", "ndcg", "mean_average_precision", "retrieval_recall"], "retrieval"),
    **dict.fromkeys(["bleu", "edit_distance"], "sequences"),
}
METRICS: Mapping[str, Callable[..., Any]] = {
    "auroc": _auroc,
    "average_precision": _average_precision,
    "f1": _of_classes("f1"),
    "precision": _of_classes("precision"),
    "recall": _of_classes("recall"),
    "balanced_accuracy": _balanced_accuracy,
    "matthews": _matthews,
    "r2": _r2,
    "pearson": _pearson,
    "spearman": _spearman,
    "ece": _ece,
    "silhouette": _silhouette,
    "confusion_counts": _confusion,
    "support": _support,
    "log_loss": _log_loss,
}
