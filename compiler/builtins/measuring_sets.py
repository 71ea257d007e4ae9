"""Metrics of a whole set of rows: what `measure` collects before it computes them with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from etude.compiler import faults, texts
from etude.compiler.builtins.table import REGISTRY
from etude.compiler.calls import CallSite
from etude.compiler.class_counts import check_choice, check_scores
from etude.compiler.values import Builtin, Tensor, TextColumn, describe


class SetMetric(Struct, frozen=True, eq=False):
    """A metric of all rows: `tensors` are collected, one value or vector a row, and given to it in order.

    With `classes` it is a list with an entry for each class.
    """

    name: str
    tensors: tuple[Tensor | TextColumn, ...]
    settings: Mapping[str, Any]
    classes: int | None = None


# The metrics by name: the names of what they take of each row, and their settings with defaults.
METRICS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "auroc": (("scores", "labels"), {}),
    "average_precision": (("scores", "labels"), {}),
    "f1": (("predictions", "labels"), {"average": "macro"}),
    "precision": (("predictions", "labels"), {"average": "macro"}),
    "recall": (("predictions", "labels"), {"average": "macro"}),
    "balanced_accuracy": (("predictions", "labels"), {}),
    "matthews": (("predictions", "labels"), {}),
    "r2": (("predictions", "targets"), {}),
    "pearson": (("predictions", "targets"), {}),
    "spearman": (("predictions", "targets"), {}),
    "ece": (("probabilities", "labels"), {"bins": 15}),
    "silhouette": (("embeddings", "labels"), {}),
    "confusion_counts": (("predictions", "labels"), {}),
    "support": (("labels",), {}),
    "log_loss": (("probabilities", "labels"), {}),
    "recall_at_k": (("scores", "relevant"), {"k": 10}),
    "mrr": (("scores", "relevant"), {}),
    "ndcg": (("scores", "relevant"), {"k": 10}),
    "mean_average_precision": (("scores", "relevant"), {}),
    "retrieval_recall": (("queries", "keys"), {"k": 1}),
    "bleu": (("predictions", "references"), {"order": 4, "pad": -1}),
    "edit_distance": (("predictions", "references"), {"pad": -1}),
}
OF_CLASSES = {"scores", "probabilities"}  # what has one number a class, or one alone for yes and no
TEXTS = texts.METRICS  # metrics that take columns of text, too
OF_EACH_CLASS = {"confusion_counts", "support"}  # and what has the setting average = "none"
OF_ALL_PAIRS = {"confusion_counts"}  # a list for each class


def _metric(name: str, inputs: tuple[str, ...], defaults: dict[str, Any]) -> Builtin:
    def collect(site: CallSite, **given: Any) -> SetMetric:
        frame = site.session.frame
        if frame is None or frame.kind != "row":
            raise faults.only_in_traced_code(f"'{name}'", site.location, "the function given to 'measure'")
        tensors = tuple(_tensor(site, name, item, given[item]) for item in inputs)
        _check_counts(site, name, dict(zip(inputs, tensors, strict=True)))
        settings = {key: _setting(site, name, key, given.get(key, value), value) for key, value in defaults.items()}
        if name not in OF_EACH_CLASS and settings.get("average") != "none":
            return SetMetric(name, tensors, settings)
        classes = _classes(site, name, tensors[inputs.index("labels")])
        return SetMetric(name, tensors, {**settings, "classes": classes}, classes)

    parameters = (*((item, False) for item in inputs), *((item, True) for item in defaults))
    return Builtin(name, collect, parameters)


def _check_counts(site: CallSite, metric: str, given: Mapping[str, Tensor | TextColumn]) -> None:
    """Refuse class numbers and scores that are of another number of classes than the label."""
    labels = given.get("labels")
    if not isinstance(labels, Tensor):
        return
    assert site.session.frame is not None
    for name, value in given.items():
        if name == "predictions":
            check_choice(site.session.frame, value, labels, site.at(name))
        elif (
            name in OF_CLASSES and isinstance(value, Tensor) and value.type.shape[labels.type.rank :] not in {(), (1,)}
        ):
            check_scores(f"the {name} of '{metric}' have", value, labels, site.at(name))


def _tensor(site: CallSite, metric: str, name: str, value: Any) -> Tensor | TextColumn:
    if isinstance(value, TextColumn) and metric in TEXTS:
        return value
    if not isinstance(value, Tensor):
        raise faults.wrong_kind(f"'{name}' of '{metric}'", "a tensor of the row", describe(value), site.at(name))
    return value


def _classes(site: CallSite, metric: str, labels: Tensor | TextColumn) -> int:
    if not isinstance(labels, Tensor) or labels.classes is None:
        help = "a label is a column of that kind, or as_label(e, classes = 10)"
        raise faults.wrong_kind(f"'labels' of '{metric}'", "a label", describe(labels), site.at("labels"), help)
    return labels.classes


def _setting(site: CallSite, metric: str, name: str, value: Any, default: Any) -> Any:
    if type(value) is not type(default):
        raise faults.wrong_kind(f"'{name}' of '{metric}'", describe(default), describe(value), site.at(name))
    return value


REGISTRY.update({name: _metric(name, inputs, defaults) for name, (inputs, defaults) in METRICS.items()})
