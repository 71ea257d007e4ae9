from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from etude.backends.base import Checkpoint
from etude.backends.selection import Keep, Selection


def judged(selection: Selection, name: str, values: Sequence[float]) -> Checkpoint:
    for step, value in enumerate(values, start=1):
        is_checkpoint = selection.keep == "all"
        selection.offer(step, step / 2, [np.array(step)], {name: value}, is_checkpoint=is_checkpoint)
    return selection.result(Checkpoint(len(values), len(values) / 2, [np.array(len(values))]))


def test_the_lowest_loss_is_best_without_a_score() -> None:
    assert judged(Selection("best"), "loss", [3.0, 1.0, 2.0]).step == 2


def test_the_highest_score_is_best() -> None:
    assert judged(Selection("best", "accuracy"), "accuracy", [0.3, 0.1, 0.9, 0.2]).step == 3


def test_ties_go_to_the_earliest() -> None:
    assert judged(Selection("best", "accuracy"), "accuracy", [0.3, 0.9, 0.9]).step == 2


def test_the_best_keeps_its_weights_and_epoch() -> None:
    best = judged(Selection("best"), "loss", [3.0, 1.0, 2.0])

    assert (best.epoch, best.weights) == (1.0, [np.array(2)])


@pytest.mark.parametrize("keep", ["last", "all"])
def test_the_last_is_the_result_unless_the_best_is_kept(keep: Keep) -> None:
    assert judged(Selection(keep), "loss", [3.0, 1.0, 2.0]).step == 3


def test_all_are_kept_in_order() -> None:
    selection = Selection("all")
    judged(selection, "loss", [3.0, 1.0, 2.0])

    assert [checkpoint.step for checkpoint in selection.checkpoints] == [1, 2, 3]


def test_a_value_that_is_not_a_number_is_never_best() -> None:
    assert judged(Selection("best"), "loss", [math.nan, 2.0, math.nan, 3.0]).step == 2


def test_an_infinite_loss_is_better_than_none() -> None:
    assert judged(Selection("best"), "loss", [math.inf, math.inf]).step == 1


def test_patience_counts_validations_in_a_row_without_improvement() -> None:
    selection = Selection("best", patience=2)

    exhausted = []
    for step, value in enumerate([3.0, 3.5, 2.0, 2.0, 2.1]):
        selection.offer(step, 0.0, [], {"loss": value})
        exhausted.append(selection.is_exhausted)

    assert exhausted == [False, False, False, False, True]


def test_marks_without_a_validation_do_not_count() -> None:
    selection = Selection("best", patience=1)
    selection.offer(1, 0.0, [], {"loss": 1.0})
    selection.offer(2, 0.0, [], {})

    assert not selection.is_exhausted
    assert selection.result(Checkpoint(2, 0.0, [])).step == 1
