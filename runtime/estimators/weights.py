"""The weights of the model that a fitted linear estimator is, in the order of `std.fitted`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etude.runtime.arrays import Array
from etude.runtime.estimators.fitting import ABSENT

Json = Any


def model_weights(model: str, spec: Mapping[str, Json], estimator: Any) -> list[Array]:
    """The weights of a model of `std.fitted` as float32."""
    found: list[Array] = {
        "linear_scores": _linear_scores,
        "projection": _projection,
        "scaling": _scaling,
        "distances": _distances,
    }[model](spec, getattr(estimator, "found", estimator))
    return [np.ascontiguousarray(values, dtype=np.float32) for values in found]


def _linear_scores(spec: Mapping[str, Json], estimator: Any) -> list[Array]:
    """w [numbers, outputs] and b [outputs]."""
    coefficients = np.atleast_2d(estimator.coef_)
    offset = np.broadcast_to(np.atleast_1d(estimator.intercept_), (len(coefficients),))
    count, present = spec.get("classes"), getattr(estimator, "classes_", None)
    if count is None or present is None:
        return [coefficients.T, offset]
    if len(coefficients) == 1:  # one score for two classes: half of it for the one, against the other
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        offset = np.concatenate([-offset, offset]) / 2
    w = np.zeros((coefficients.shape[1], count))
    b = np.full(count, ABSENT)
    w[:, present], b[present] = coefficients.T, offset
    return [w, b]


def _projection(spec: Mapping[str, Json], estimator: Any) -> list[Array]:
    """center [numbers] and w [numbers, components]."""
    wanted = spec["estimator"]["components"]
    if spec["estimator"]["name"] == "pca":
        scale = np.sqrt(estimator.explained_variance_) if spec["estimator"]["whiten"] else 1.0
        return [estimator.mean_, estimator.components_.T / np.maximum(scale, np.finfo(np.float32).tiny)]
    directions = estimator.scalings_[:, :wanted]
    directions = np.pad(directions, [(0, 0), (0, wanted - directions.shape[1])])  # fewer where classes have no rows
    return [getattr(estimator, "xbar_", np.zeros(len(directions))), directions]


def _scaling(spec: Mapping[str, Json], estimator: Any) -> list[Array]:
    """center [numbers] and scale [numbers]."""
    numbers = estimator.n_features_in_
    center = estimator.mean_ if spec["estimator"]["center"] else np.zeros(numbers)
    return [center, estimator.scale_ if spec["estimator"]["scale"] else np.ones(numbers)]


def _distances(spec: Mapping[str, Json], estimator: Any) -> list[Array]:
    """center [centers, numbers]."""
    return [estimator.centroids_ if spec["estimator"]["name"] == "prototypes" else estimator.cluster_centers_]
