"""Metrics of a whole set of rows, by numbers worked out by hand or by another way of computing them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etude.compiler.builtins.measuring_sets import METRICS as DECLARED
from etude.runtime.metrics import ELSEWHERE, METRICS, metric
from etude.runtime.stages import StageError

LABELS = np.array([0, 1, 0, 1], np.int32)


def settings(name: str, **given: Any) -> dict[str, Any]:
    return {**DECLARED[name][1], **given}


def value(name: str, *inputs: Any, **given: Any) -> float | None:
    return metric(name, [np.asarray(each) for each in inputs], settings(name, **given))


def test_the_best_candidates_are_those_with_the_highest_scores() -> None:
    scores, relevant = [[0.9, 0.5, 0.1], [0.1, 0.2, 0.3]], [[0, 1, 0], [1, 0, 1]]
    assert value("recall_at_k", scores, relevant, k=1) == pytest.approx((0 + 1 / 2) / 2)
    assert value("recall_at_k", scores, relevant, k=2) == pytest.approx((1 + 1 / 2) / 2)


def test_bleu_of_a_short_sentence_is_less_than_its_precision() -> None:
    said, meant = np.array(["the cat sat"], object), np.array(["the cat sat down"], object)
    assert value("bleu", said, meant, order=2) == pytest.approx(np.exp(1 - 4 / 3))


def test_a_candidate_that_does_not_exist_is_refused() -> None:
    with pytest.raises(StageError, match="positions below 2"):
        value("mrr", [[0.1, 0.2]], [5])


def test_every_metric_of_the_language_is_computed() -> None:
    assert {*METRICS, *ELSEWHERE} == set(DECLARED)


@pytest.mark.parametrize(
    ("name", "first", "second", "expected"),
    [
        ("auroc", [0.1, 0.4, 0.35, 0.8], LABELS, 1.0),
        ("auroc", [0.5, 0.4, 0.1, 0.8], LABELS, 0.75),
        ("auroc", [1.0, 1.0, 1.0, 1.0], LABELS, 0.5),
        ("average_precision", [0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 + 2 / 3) / 2),
        ("f1", [0, 1, 1, 1], LABELS, (2 / 3 + 4 / 5) / 2),
        ("precision", [0, 1, 1, 1], LABELS, (1 + 2 / 3) / 2),
        ("recall", [0, 1, 1, 1], LABELS, 3 / 4),
        ("balanced_accuracy", [0, 1, 1, 1, 0], [0, 1, 0, 1, 2], (1 / 2 + 1 + 0) / 3),
        ("matthews", [0, 1, 1, 1], LABELS, 1 / np.sqrt(3)),
        ("r2", [1.0, 2.0, 4.0], [1.0, 2.0, 3.0], 0.5),
        ("pearson", [1.0, 2.0, 3.0], [2.0, 4.0, 5.0], np.corrcoef([1, 2, 3], [2, 4, 5])[0, 1]),
        ("spearman", [1.0, 10.0, 100.0], [0.1, 0.2, 0.9], 1.0),
        ("spearman", [1.0, 1.0, 2.0], [1.0, 2.0, 3.0], np.sqrt(3) / 2),
        ("ece", [[0.1, 0.9], [0.8, 0.2]], [1, 1], (0.1 + 0.8) / 2),
        ("ece", [0.9, 0.2], [1, 1], (0.1 + 0.8) / 2),
        ("silhouette", [[0.0], [0.0], [1.0], [1.0]], [0, 0, 1, 1], 1.0),
        ("log_loss", [[0.25, 0.75], [0.5, 0.5]], [1, 0], -(np.log(0.75) + np.log(0.5)) / 2),
        ("log_loss", [0.75, 0.5], [1, 0], -(np.log(0.75) + np.log(0.5)) / 2),
        ("mrr", [[0.9, 0.5, 0.1], [0.1, 0.2, 0.3]], [1, 2], (1 / 2 + 1) / 2),
        ("mrr", [[0.9, 0.5, 0.1]], [[0, 0, 0]], 0.0),
        ("ndcg", [[0.9, 0.5, 0.1]], [[0.0, 2.0, 1.0]], (2 / np.log2(3) + 1 / 2) / (2 + 1 / np.log2(3))),
        ("mean_average_precision", [[0.9, 0.5, 0.1]], [[1, 0, 1]], (1 + 2 / 3) / 2),
        ("retrieval_recall", [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]], 1 / 2),
        ("edit_distance", [[1, 2, 3, -1]], [[1, 3, 3, 4]], 2 / 4),
        ("edit_distance", np.array(["kitten"], object), np.array(["sitting"], object), 3 / 7),
        ("bleu", [[1, 2, 3, 4, 5]], [[1, 2, 3, 4, 5]], 1.0),
        ("bleu", [[1, 2, 3, 4]], [[9, 9, 9, 9]], 0.0),
    ],
)
def test_a_metric_has_its_known_value(name: str, first: Any, second: Any, expected: float) -> None:
    assert value(name, np.float32(first) if np.asarray(first).dtype.kind == "f" else first, second) == pytest.approx(
        expected, rel=1e-6
    )


def test_labels_may_be_truth_values() -> None:
    assert value("auroc", [0.1, 0.9], [False, True]) == 1
    assert value("f1", [False, True], [False, True]) == 1


def test_several_classes_are_each_held_against_the_rest() -> None:
    scores = np.float32([[0.5, 0.1, 0], [0.2, 0.7, 0], [0.8, 0.3, 0]])
    assert value("auroc", scores, [0, 1, 1]) == pytest.approx((0.5 + 1) / 2), "no row is of class 2"


def test_f1_averages_as_it_is_told() -> None:
    predictions, labels = [0, 1, 1, 1], LABELS
    assert value("f1", predictions, labels, average="binary") == pytest.approx(0.8)
    assert value("f1", predictions, labels, average="micro") == pytest.approx(0.75)
    with pytest.raises(StageError, match="labels 0 and 1"):
        value("f1", [0, 1, 2], [0, 1, 1], average="binary")
    with pytest.raises(StageError, match=r'average is one of .*, got "mean"'):
        value("f1", predictions, labels, average="mean")


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("auroc", [0.1, 0.2], [1, 1]),
        ("average_precision", [0.1, 0.2], [1, 1]),
        ("matthews", [1, 1], [0, 1]),
        ("r2", [1.0, 2.0], [1.0, 1.0]),
        ("r2", [1.0], [1.0]),
        ("pearson", [1.0, 1.0], [1.0, 2.0]),
        ("spearman", [1.0], [1.0]),
        ("silhouette", [[1.0], [2.0]], [0, 1]),
    ],
)
def test_where_a_metric_is_not_defined_there_is_no_value(name: str, first: Any, second: Any) -> None:
    assert value(name, first, second) is None


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_on_no_rows_there_is_no_value(name: str) -> None:
    nothing = [np.empty(0, np.float32), np.empty(0, np.int32)]
    assert value(name, *nothing[: len(DECLARED[name][0])]) is None


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(StageError, match="one score per class"):
        value("auroc", [0.1, 0.2, 0.3], [0, 1, 2])
    with pytest.raises(StageError, match="'predictions'"):
        value("f1", np.zeros((4, 10)), LABELS)
    with pytest.raises(StageError, match="'scores' is not finite"):
        value("auroc", [0.1, np.nan], [0, 1])


def test_confusion_counts_rows_of_labels_by_columns_of_predictions() -> None:
    assert value("confusion_counts", [0, 1, 1, 2], [0, 1, 2, 2], classes=3) == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_metrics_of_each_class_have_no_value_where_a_class_never_occurs() -> None:
    guesses, labels = [0, 1, 1, 1], [0, 0, 1, 1]
    assert value("support", labels, classes=3) == [2, 2, 0]
    assert value("recall", guesses, labels, average="none", classes=3) == [0.5, 1.0, None]
    assert value("precision", guesses, labels, average="none", classes=3) == [1.0, 2 / 3, None]
    assert value("f1", guesses, labels, average="none", classes=3) == [2 / 3, 0.8, None]


def test_a_prediction_that_is_no_class_is_refused() -> None:
    with pytest.raises(StageError, match="expected classes below 2, got 2"):
        value("confusion_counts", [0, 2], [0, 1], classes=2)
