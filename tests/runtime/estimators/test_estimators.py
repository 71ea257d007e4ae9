"""What `fit` makes of estimators agrees with scikit-learn, whatever the process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from etude.runtime.estimators.asking import answers, neighbours
from etude.runtime.estimators.fitting import ABSENT, fitted, make_estimator
from etude.runtime.estimators.storage import estimator_bytes, read_estimator
from etude.runtime.estimators.weights import model_weights
from etude.runtime.stages import StageError

IRIS = datasets.load_iris()
X, Y = IRIS.data.astype(np.float64), IRIS.target.astype(np.int64)
NUMBER = X[:, 0] * 2 - X[:, 3]
CLASSES: dict[str, dict[str, Any]] = {
    "random_forest": {"trees": 5, "depth": None, "leaf": 1},
    "gradient_boosting": {"trees": 3, "depth": 3, "lr": 0.1, "leaf": 1, "share": 0.5},
    "svm": {"kernel": "rbf", "c": 1.0, "gamma": None},
    "knn": {"k": 3, "weights": "uniform"},
}


def spec(name: str, classes: int | None = 3, **fields: Any) -> dict[str, Any]:
    draws = name in ("random_forest", "gradient_boosting", "gaussian_mixture", "k_means")
    return {"estimator": {"name": name, **fields}, "classes": classes, "seed": 3 if draws else None}


def silent(message: str) -> None:
    raise AssertionError(message)


def scores(weights: list[Any], x: Any) -> Any:
    w, b = weights
    return x @ w + b


def test_logistic_regression_is_the_model_with_its_probabilities() -> None:
    made = spec("logistic_regression", c=1.0, intercept=True, steps=2000)
    found = fitted(made, X, Y, silent)
    logits = scores(model_weights("linear_scores", made, found), X)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(shares, found.predict_proba(X), atol=1e-5)


def test_two_classes_get_a_score_each() -> None:
    made = spec("logistic_regression", classes=2, c=1.0, intercept=True, steps=2000)
    rows = Y < 2
    found = fitted(made, X[rows], Y[rows], silent)
    logits = scores(model_weights("linear_scores", made, found), X[rows])
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(shares, found.predict_proba(X[rows]), atol=1e-5)


@pytest.mark.parametrize("shrinkage", [None, "auto", 0.3])
def test_lda_tells_the_classes_apart_as_scikit_learn_does(shrinkage: Any) -> None:
    made = spec("lda", components=None, shrinkage=shrinkage, balanced=True)
    found = fitted(made, X, Y, silent)
    logits = scores(model_weights("linear_scores", made, found), X)
    assert np.allclose(logits, found.found.decision_function(X), atol=1e-3)


def test_the_directions_of_lda_and_pca_are_those_of_scikit_learn() -> None:
    for name, fields in (
        ("pca", {"components": 2, "whiten": True}),
        ("lda", {"components": 2, "shrinkage": None, "balanced": False}),
        ("lda", {"components": 1, "shrinkage": 0.1, "balanced": False}),
    ):
        made = spec(name, **fields)
        found = fitted(made, X, Y, silent)
        center, w = model_weights("projection", made, found)
        expected = getattr(found, "found", found).transform(X)
        assert np.allclose((X - center) @ w, expected, atol=1e-3)


def test_ridge_fits_labels_as_one_and_minus_one_and_numbers_as_they_are() -> None:
    made = spec("ridge", alpha=1.0, intercept=True)
    w, b = model_weights("linear_scores", made, fitted(made, X, Y, silent))
    assert w.shape == (4, 3) and np.argmax(X @ w + b, axis=1)[Y == 0].tolist() == [0] * 50
    numbers = spec("ridge", classes=None, alpha=1e-6, intercept=True)
    w, b = model_weights("linear_scores", numbers, fitted(numbers, X, NUMBER, silent))
    assert np.allclose((X @ w + b)[:, 0], NUMBER, atol=1e-3)


def test_scaling_leaves_alone_what_it_is_told_to_leave() -> None:
    made = spec("standard_scaler", center=False, scale=True)
    center, scale = model_weights("scaling", made, fitted(made, X, None, silent))
    assert not center.any() and np.allclose(scale, X.std(axis=0), atol=1e-5)


def test_prototypes_are_the_means_of_the_classes() -> None:
    made = spec("prototypes")
    (centers,) = model_weights("distances", made, fitted(made, X, Y, silent))
    assert np.allclose(centers[1], X[Y == 1].mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_class_without_rows_is_never_predicted(name: str) -> None:
    rows = Y != 1
    made = spec(name, **CLASSES[name])
    found = answers(fitted(made, X[rows], Y[rows], silent), X, 3)
    assert found.shape == (150, 3) and set(np.argmax(found, axis=1).tolist()) <= {0, 2}
    assert np.isin(found[:, 1], [0.0, ABSENT]).all()


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_an_estimator_says_the_same_after_it_was_stored(name: str) -> None:
    for classes, target in ((3, Y), (None, NUMBER)):
        found = fitted(spec(name, classes, **CLASSES[name]), X, target, silent)
        again = read_estimator(estimator_bytes(found))
        assert np.array_equal(answers(found, X, 3), answers(again, X, 3))


BYTES = """
import hashlib, sys
sys.path.insert(0, {tests!r})
from test_estimators import CLASSES, X, Y, NUMBER, fitted, spec, silent, estimator_bytes
for name in sorted(CLASSES):
    print(hashlib.sha256(estimator_bytes(fitted(spec(name, **CLASSES[name]), X, Y, silent))).hexdigest())
print(hashlib.sha256(estimator_bytes(
    fitted(spec("gaussian_mixture", None, components=2, covariance="full", starts=1), X, None, silent))).hexdigest())
"""


def test_equal_estimators_are_equal_bytes_in_every_process() -> None:
    from pathlib import Path

    script = BYTES.format(tests=str(Path(__file__).parent))
    printed = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    assert printed[0] == printed[1] and len(set(printed[0].split())) == 5


def test_a_file_with_other_types_is_refused() -> None:
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    data = skops.io.dumps(FunctionTransformer(subprocess.run))
    with pytest.raises(StageError, match="not allowed: subprocess"):
        read_estimator(data)


@pytest.mark.parametrize(
    ("made", "x", "y", "message"),
    [
        (spec("ridge", alpha=1.0, intercept=True), X[:0], Y[:0], "no rows"),
        (spec("ridge", alpha=1.0, intercept=True), np.where(X > 7, np.nan, X), Y, "finite numbers only"),
        (spec("k_means", None, clusters=200, starts=1, steps=9), X, None, "only 150 rows"),
        (spec("logistic_regression", c=1.0, intercept=True, steps=9), X[:9], Y[:9], "at least two classes"),
        (spec("prototypes"), X[:60], Y[:60], "none of"),
    ],
)
def test_data_that_cannot_be_fitted_is_a_sentence(made: Any, x: Any, y: Any, message: str) -> None:
    with pytest.raises(StageError, match=message):
        fitted(made, x, y, silent)


def test_a_fit_that_ends_too_early_is_told() -> None:
    said: list[str] = []
    fitted(spec("logistic_regression", c=1e6, intercept=True, steps=2), X, Y, said.append)
    assert said and said[0].startswith("logistic_regression did not converge")


def test_the_seed_of_a_fit_is_its_only_chance() -> None:
    fields = CLASSES["random_forest"]
    one, two = (fitted(spec("random_forest", **fields) | {"seed": seed}, X, Y, silent) for seed in (1, 2))
    assert not np.array_equal(one.predict_proba(X), two.predict_proba(X))
    assert make_estimator({"name": "random_forest", **fields}, True, 2**40).random_state < 2**32


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_an_index_gives_the_targets_of_the_nearest_rows_the_nearest_first(metric: str) -> None:
    made = spec("nearest", classes=None, k=3, metric=metric)
    numbers = np.stack([np.arange(len(X)), -np.arange(len(X))], axis=1).astype(np.float64)
    found = read_estimator(estimator_bytes(fitted(made, X, numbers, silent)))
    rows, near = X[:20] + 0.01, X
    said = neighbours(found, rows)
    assert said.shape == (20, 3, 2) and (said[..., 1] == -said[..., 0]).all()
    if metric == "cosine":
        rows, near = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, near))
    gaps = np.square(rows[:, np.newaxis] - near).sum(axis=2)
    picked = np.take_along_axis(gaps, said[..., 0].astype(int), axis=1)
    assert np.allclose(picked, np.sort(gaps, axis=1)[:, :3], atol=1e-9)


def test_an_index_of_equal_rows_takes_the_first() -> None:
    made = spec("nearest", classes=None, k=2, metric="euclidean")
    found = fitted(made, np.ones((6, 2)), np.arange(6.0), silent)
    assert neighbours(found, np.ones((1, 2))).tolist() == [[0.0, 1.0]]
