"""The estimators of a `fit` as scikit-learn has them, and fitting them: one thread, nothing left to chance."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from etude.runtime.arrays import Array
from etude.runtime.stages import StageError

Json = Any
Fields = Mapping[str, Json]
ABSENT = -1e4  # the score of a class that no row of the data has


def fitted(spec: Fields, x: Array, y: Array | None, warn: Callable[[str], None]) -> Any:
    """A fitted estimator; `x` is [rows, numbers], `y` the target where there is one. Raises `StageError`."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError as error:
        hint = 'pip install "etude-lang[data]"'
        raise StageError(f'fitting needs "{error.name}", which is not installed', hint=hint) from error
    fields = spec["estimator"]
    _check_rows(fields, spec.get("classes"), x, y)
    estimator = make_estimator(fields, spec.get("classes") is not None, spec.get("seed"))
    with warnings.catch_warnings(record=True) as raised, threadpool_limits(1):
        warnings.simplefilter("always")
        estimator.fit(x, _target(fields, spec.get("classes"), y))
    for each in raised:
        if issubclass(each.category, ConvergenceWarning):
            warn(f"{fields['name']} did not converge: {str(each.message).splitlines()[0]}")
    return estimator


def _check_rows(fields: Fields, classes: int | None, x: Array, y: Array | None) -> None:
    name = fields["name"]
    if not len(x):
        raise StageError("there are no rows to fit to")
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise StageError(f"'{name}' takes finite numbers only; those of row {row} are not")
    for setting in ("clusters", "components", "k"):
        least = fields.get(setting)
        if name in ("k_means", "gaussian_mixture", "knn", "nearest", "pca") and least is not None and least > len(x):
            there = "is only 1 row" if len(x) == 1 else f"are only {len(x)} rows"
            raise StageError(f"'{setting}' of '{name}' is {least}, but there {there}")
    if classes is not None and y is not None:
        present = len(np.unique(y))
        if present < 2 and name not in ("ridge", "linear_regression", "knn", "nearest", "random_forest"):
            raise StageError(f"'{name}' needs rows of at least two classes, got one")
        if name == "prototypes" and present < classes:
            missing = sorted(set(range(classes)) - set(np.unique(y).tolist()))
            raise StageError(f"'prototypes' needs rows of every class; there are none of {missing}")


def _target(fields: Fields, classes: int | None, y: Array | None) -> Array | None:
    """Labels of least squares are 1 for the class and -1 for the others."""
    if y is None or classes is None or fields["name"] not in ("ridge", "linear_regression"):
        return y
    return np.where(np.arange(classes) == y[:, np.newaxis], 1.0, -1.0)


def make_estimator(fields: Fields, of_classes: bool, seed: int | None) -> Any:
    """The estimator of scikit-learn that has these settings, all that matters written down."""
    name: str = fields["name"]
    maker: Callable[..., Any] = _MAKERS[name]
    state = {} if seed is None else {"random_state": seed % 2**32}
    return maker(fields, of_classes, **state)


def _ridge(fields: Fields, of_classes: bool) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=fields["alpha"], fit_intercept=fields["intercept"], solver="cholesky")


def _linear_regression(fields: Fields, of_classes: bool) -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression(fit_intercept=fields["intercept"])


def _logistic_regression(fields: Fields, of_classes: bool) -> Any:
    from sklearn.linear_model import LogisticRegression

    settings = {"max_iter": fields["steps"], "solver": "lbfgs", "tol": 1e-5}
    return LogisticRegression(C=fields["c"], fit_intercept=fields["intercept"], **settings)


def _svm(fields: Fields, of_classes: bool) -> Any:
    from sklearn import svm

    if fields["kernel"] == "linear":
        if of_classes:
            return svm.LinearSVC(C=fields["c"], dual=False, tol=1e-5, max_iter=10_000)
        loss = "squared_epsilon_insensitive"
        return svm.LinearSVR(C=fields["c"], loss=loss, dual=False, tol=1e-5, max_iter=10_000)
    settings = {"C": fields["c"], "kernel": fields["kernel"], "gamma": fields["gamma"] or "scale"}
    settings["degree"] = fields.get("degree", 3)
    return svm.SVC(decision_function_shape="ovr", **settings) if of_classes else svm.SVR(**settings)


def _knn(fields: Fields, of_classes: bool) -> Any:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    kind = KNeighborsClassifier if of_classes else KNeighborsRegressor
    return kind(fields["k"], weights=fields["weights"], algorithm="brute")


def _nearest(fields: Fields, of_classes: bool) -> Any:
    from sklearn.neighbors import KNeighborsRegressor

    return KNeighborsRegressor(fields["k"], metric=fields["metric"], algorithm="brute")


def _k_means(fields: Fields, of_classes: bool, random_state: Any) -> Any:
    from sklearn.cluster import KMeans

    settings = {"n_init": fields["starts"], "max_iter": fields["steps"], "algorithm": "lloyd"}
    return KMeans(fields["clusters"], random_state=random_state, **settings)


def _pca(fields: Fields, of_classes: bool) -> Any:
    from sklearn.decomposition import PCA

    return PCA(fields["components"], whiten=fields["whiten"], svd_solver="full")


def _lda(fields: Fields, of_classes: bool) -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    shrinkage, components = fields["shrinkage"], fields["components"]
    solver = "svd" if shrinkage is None else "lsqr" if components is None else "eigen"
    return _Lda(LinearDiscriminantAnalysis, fields, solver)


class _Lda:
    """LDA whose classes may be taken as equally likely: how many there are is known when it is fitted."""

    def __init__(self, kind: Callable[..., Any], fields: Fields, solver: str) -> None:
        self._kind, self._fields, self._solver = kind, fields, solver

    def fit(self, x: Array, y: Array) -> None:
        fields, classes = self._fields, len(np.unique(y))
        priors = np.full(classes, 1 / classes) if fields["balanced"] else None
        shrinkage, components = fields["shrinkage"], fields["components"]
        count = None if components is None else min(components, classes - 1)
        made = self._kind(solver=self._solver, shrinkage=shrinkage, priors=priors, n_components=count)
        self.found = made.fit(x, y)


def _prototypes(fields: Fields, of_classes: bool) -> Any:
    from sklearn.neighbors import NearestCentroid

    return NearestCentroid()


def _standard_scaler(fields: Fields, of_classes: bool) -> Any:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler(with_mean=fields["center"], with_std=fields["scale"])


def _random_forest(fields: Fields, of_classes: bool, random_state: Any) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestClassifier if of_classes else RandomForestRegressor
    settings = {"max_depth": fields["depth"], "min_samples_leaf": fields["leaf"]}
    return kind(fields["trees"], random_state=random_state, **settings)


def _gradient_boosting(fields: Fields, of_classes: bool, random_state: Any) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    kind = GradientBoostingClassifier if of_classes else GradientBoostingRegressor
    settings = {"max_depth": fields["depth"], "min_samples_leaf": fields["leaf"], "subsample": fields["share"]}
    rate = {"n_estimators": fields["trees"], "learning_rate": fields["lr"]}
    return kind(random_state=random_state, **rate, **settings)


def _gaussian_mixture(fields: Fields, of_classes: bool, random_state: Any) -> Any:
    from sklearn.mixture import GaussianMixture

    settings = {"covariance_type": fields["covariance"], "n_init": fields["starts"]}
    return GaussianMixture(fields["components"], random_state=random_state, **settings)


_MAKERS: Mapping[str, Callable[..., Any]] = {
    "ridge": _ridge,
    "linear_regression": _linear_regression,
    "logistic_regression": _logistic_regression,
    "svm": _svm,
    "knn": _knn,
    "nearest": _nearest,
    "k_means": _k_means,
    "pca": _pca,
    "lda": _lda,
    "prototypes": _prototypes,
    "standard_scaler": _standard_scaler,
    "random_forest": _random_forest,
    "gradient_boosting": _gradient_boosting,
    "gaussian_mixture": _gaussian_mixture,
}
