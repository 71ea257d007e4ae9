"""Estimators that `fit` takes: settings of scikit-learn's, with the names, defaults and checks of this language."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from etude.compiler import faults
from etude.compiler.arithmetic import is_number
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.scopes import did_you_mean
from etude.compiler.values import Setting, describe


class Traits(Struct, frozen=True):
    """What an estimator is fitted to: no target, a label, one number or several; and whether it draws at random."""

    target: Literal["none", "label", "label or number", "label or numbers"]
    draws: bool = False


TRAITS = {
    "ridge": Traits("label or numbers"),
    "linear_regression": Traits("label or numbers"),
    "logistic_regression": Traits("label"),
    "svm": Traits("label or number"),
    "k_means": Traits("none", draws=True),
    "pca": Traits("none"),
    "lda": Traits("label"),
    "prototypes": Traits("label"),
    "standard_scaler": Traits("none"),
    "knn": Traits("label or numbers"),
    "nearest": Traits("label or numbers"),
    "random_forest": Traits("label or numbers", draws=True),
    "gradient_boosting": Traits("label or number", draws=True),
    "gaussian_mixture": Traits("none", draws=True),
}


def _estimator(site: CallSite, **fields: Any) -> Setting:
    return Setting("estimator", {"name": site.name, **fields})


def _what(site: CallSite, name: str) -> str:
    return f"'{name}' of '{site.name}'"


def _number(site: CallSite, name: str, value: Any, least: float = 0.0) -> float:
    if not is_number(value):
        raise faults.wrong_kind(_what(site, name), "a number", describe(value), site.at(name))
    if not value > least:
        raise faults.wrong_value(f"{_what(site, name)} must be larger than {least:g}, got {value:g}", site.at(name))
    return float(value)


def _share(site: CallSite, name: str, value: Any) -> float:
    if not is_number(value) or not 0 <= value <= 1:
        got = f"{value:g}" if is_number(value) else describe(value)
        raise faults.wrong_kind(_what(site, name), "a share between 0% and 100%", got, site.at(name))
    return float(value)


def _count(site: CallSite, name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise faults.wrong_kind(_what(site, name), "an int", describe(value), site.at(name))
    if value < 1:
        raise faults.wrong_value(f"{_what(site, name)} must be at least 1, got {value}", site.at(name))
    return value


def _flag(site: CallSite, name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise faults.wrong_kind(_what(site, name), "true or false", describe(value), site.at(name))
    return value


def _choice(site: CallSite, name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value in choices:
        return str(value)
    listed = ", ".join(f'"{choice}"' for choice in choices)
    help = did_you_mean(value, choices) if isinstance(value, str) else None
    got = f'"{value}"' if isinstance(value, str) else describe(value)
    raise faults.wrong_kind(_what(site, name), f"one of {listed}", got, site.at(name), help)


# --- models afterwards ---------------------------------------------------------------------------


@builtin
def ridge(site: CallSite, alpha: Any = 1.0, *, intercept: Any = True) -> Setting:
    """Linear least squares with a penalty on the squares of the weights; labels are fitted as 1 and -1."""
    return _estimator(site, alpha=_number(site, "alpha", alpha), intercept=_flag(site, "intercept", intercept))


@builtin
def linear_regression(site: CallSite, *, intercept: Any = True) -> Setting:
    """Linear least squares; labels are fitted as 1 and -1."""
    return _estimator(site, intercept=_flag(site, "intercept", intercept))


@builtin
def logistic_regression(site: CallSite, c: Any = 1.0, *, intercept: Any = True, steps: Any = 1000) -> Setting:
    """Linear scores for each class by maximum likelihood; `c` is the inverse of the penalty on squares of weights."""
    flags = {"intercept": _flag(site, "intercept", intercept), "steps": _count(site, "steps", steps)}
    return _estimator(site, c=_number(site, "c", c), **flags)


@builtin
def svm(site: CallSite, kernel: Any = "rbf", c: Any = 1.0, *, gamma: Any = None, degree: Any = 3) -> Setting:
    """Support vector machine, one class against the rest (Cortes and Vapnik, 1995); a linear one is a model."""
    chosen = _choice(site, "kernel", kernel, ("rbf", "linear", "poly"))
    fields = {"kernel": chosen, "c": _number(site, "c", c)}
    if chosen == "linear":
        return _estimator(site, **fields)
    fields["gamma"] = None if gamma is None else _number(site, "gamma", gamma)
    return _estimator(site, **fields, **({"degree": _count(site, "degree", degree)} if chosen == "poly" else {}))


@builtin
def k_means(site: CallSite, clusters: Any = 8, *, starts: Any = 10, steps: Any = 300) -> Setting:
    """Centers of clusters; the model gives the squared distance to each (Lloyd, 1982)."""
    counts = {"clusters": clusters, "starts": starts, "steps": steps}
    return _estimator(site, **{name: _count(site, name, value) for name, value in counts.items()})


@builtin
def pca(site: CallSite, components: Any, *, whiten: Any = False) -> Setting:
    """The directions in which the inputs vary most; the model gives the coordinates along them."""
    return _estimator(site, components=_count(site, "components", components), whiten=_flag(site, "whiten", whiten))


@builtin
def lda(site: CallSite, components: Any = None, *, shrinkage: Any = None, balanced: Any = False) -> Setting:
    """Linear discriminant analysis: normal classes of one covariance. Scores for each class, or with `components` the
    coordinates along as many directions that tell the classes apart. `shrinkage` is a share of a spherical covariance,
    or "auto" (Ledoit and Wolf, 2004); `balanced` takes all classes as equally likely."""
    fields: dict[str, Any] = {"components": None if components is None else _count(site, "components", components)}
    if isinstance(shrinkage, str):
        fields["shrinkage"] = _choice(site, "shrinkage", shrinkage, ("auto",))
    else:
        fields["shrinkage"] = None if shrinkage is None else _share(site, "shrinkage", shrinkage)
    return _estimator(site, **fields, balanced=_flag(site, "balanced", balanced))


@builtin
def prototypes(site: CallSite) -> Setting:
    """The mean of each class; the model gives minus the squared distance to each (Snell et al., 2017)."""
    return _estimator(site)


@builtin
def standard_scaler(site: CallSite, *, center: Any = True, scale: Any = True) -> Setting:
    """Inputs minus their mean, divided by their standard deviation, each number by itself."""
    return _estimator(site, center=_flag(site, "center", center), scale=_flag(site, "scale", scale))


# --- in map and measure only ---------------------------------------------------------------------


@builtin
def knn(site: CallSite, k: Any = 5, *, weights: Any = "uniform") -> Setting:
    """The classes, or the mean number, of the nearest rows; near ones may count more ("distance")."""
    return _estimator(site, k=_count(site, "k", k), weights=_choice(site, "weights", weights, ("uniform", "distance")))


@builtin
def nearest(site: CallSite, k: Any = 5, *, metric: Any = "euclidean") -> Setting:
    """An index of rows: it predicts the targets of the `k` nearest ones, the nearest first, by distance or "cosine"."""
    return _estimator(site, k=_count(site, "k", k), metric=_choice(site, "metric", metric, ("euclidean", "cosine")))


@builtin
def random_forest(site: CallSite, trees: Any = 100, *, depth: Any = None, leaf: Any = 1) -> Setting:
    """Decision trees on random rows and columns (Breiman, 2001); `leaf` is the fewest rows of a leaf."""
    limit = None if depth is None else _count(site, "depth", depth)
    return _estimator(site, trees=_count(site, "trees", trees), depth=limit, leaf=_count(site, "leaf", leaf))


@builtin
def gradient_boosting(
    site: CallSite, trees: Any = 100, *, depth: Any = 3, lr: Any = 0.1, leaf: Any = 1, share: Any = 1.0
) -> Setting:
    """Decision trees that each correct the ones before (Friedman, 2001), on a random share of the rows."""
    counts = {"trees": trees, "depth": depth, "leaf": leaf}
    fields: dict[str, Any] = {name: _count(site, name, value) for name, value in counts.items()}
    return _estimator(site, **fields, lr=_number(site, "lr", lr), share=_share(site, "share", share))


@builtin
def gaussian_mixture(site: CallSite, components: Any = 1, *, covariance: Any = "full", starts: Any = 1) -> Setting:
    """Normal clouds; it predicts how likely a row is to come from each."""
    kind = _choice(site, "covariance", covariance, ("full", "tied", "diag", "spherical"))
    counts = {name: _count(site, name, value) for name, value in {"components": components, "starts": starts}.items()}
    return _estimator(site, **counts, covariance=kind)
