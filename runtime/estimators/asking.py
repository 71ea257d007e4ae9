"""What fitted estimators that are no models say of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from etude.runtime.arrays import Array
from etude.runtime.estimators.fitting import ABSENT


def answers(estimator: Any, x: Array, count: int) -> Array:
    """A number for each class or cloud, or the numbers of the target, [rows, ..]; `x` is [rows, numbers]."""
    if hasattr(estimator, "predict_proba"):
        found = estimator.predict_proba(x)
        return found if not hasattr(estimator, "classes_") else _by_class(estimator, found, count, 0.0)
    if hasattr(estimator, "decision_function"):
        found = estimator.decision_function(x)
        scores = np.stack([-found, found], axis=1) / 2 if found.ndim == 1 else found
        return _by_class(estimator, scores, count, ABSENT)
    return np.asarray(estimator.predict(x))


def neighbours(estimator: Any, x: Array) -> Array:
    """The targets of the rows nearest to each of `x`, [rows, k, ..], the nearest first, of equal ones the first."""
    count = estimator.n_neighbors
    distances, places = estimator.kneighbors(x, n_neighbors=min(2 * count + 8, estimator.n_samples_fit_))
    order = np.lexsort((places, distances))[:, :count]
    found: Array = np.asarray(estimator._y)[np.take_along_axis(places, order, axis=1)]
    return found


def _by_class(estimator: Any, found: Array, count: int, absent: float) -> Array:
    """One column for every class: those that no row of the data had are unlikely."""
    if len(estimator.classes_) == count:
        return found
    scores = np.full((len(found), count), absent)
    scores[:, estimator.classes_] = found
    return scores
