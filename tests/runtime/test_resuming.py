"""What `etude verify-resume` compares, and where it kills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from etude.compiler.workflow import Stage
from etude.runtime.compiling import compile_text
from etude.runtime.resuming import Trial, distinct
from etude.runtime.stages.resume import history_difference, weights_difference


def test_the_first_number_of_a_history_that_differs_is_named() -> None:
    rows = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "valid.loss": None}]

    assert history_difference(rows, [dict(row) for row in rows]) is None
    assert history_difference(rows, [rows[0], {**rows[1], "loss": 0.26}]) == "row 2 of the history, loss: 0.25 and 0.26"
    assert history_difference(rows, rows[:1]) == "the history has 2 and 1 rows"


def test_weights_are_compared_by_their_bits() -> None:
    weights = [np.zeros(3, np.float32), np.arange(6, dtype=np.float32).reshape(2, 3), np.array(1.0, np.float32)]
    moved = [each.copy() for each in weights]
    moved[1][1, 2] = np.nextafter(np.float32(5), np.float32(6))
    signed = [-weights[0], *weights[1:]]
    scalar = [*weights[:2], np.array(2.0, np.float32)]

    assert weights_difference(["a", "b", "c"], weights, [each.copy() for each in weights]) is None
    assert weights_difference(["a", "b", "c"], weights, moved) == "b[1, 2]: 5.0 and 5.0000005"
    assert weights_difference(["a", "b", "c"], weights, signed) == "a[0]: 0.0 and -0.0"
    assert weights_difference(["a", "b", "c"], weights, scalar) == "c[]: 1.0 and 2.0"


SWEEP = """
irises = load("sklearn:iris") |> split(train = 80%, valid = 20%)
runs = [ finetune(mlp([width]) >> linear(3), on = irises.train, valid = irises.valid, budget = 20steps,
                  optimizer = adamw(lr = rate), seed = s) for s in 1..3 for rate in [1e-2, 1e-3] for width in [4, 8] ]
mean_of = mean([measure(irises.valid, r => argmax(m(r.features)) == r.label) for m in runs])
"""


def test_of_a_sweep_one_of_those_is_taken_that_differ_in_seeds_and_numbers_only() -> None:
    workflow = compile_text(SWEEP, "sweep.etude", Path()).workflow
    assert workflow is not None
    trainings = [stage for stage in workflow.stages.values() if stage.kind == "train"]

    assert len(trainings) == 12
    assert distinct(trainings) == trainings[:2]  # one of each width
    behind = replace(trainings[5], guards=trainings[5].inputs)
    assert distinct([*trainings[:2], behind]) == [*trainings[:2], behind]


@pytest.mark.parametrize("steps", range(2, 30))
def test_a_training_is_killed_before_its_end_and_after_a_checkpoint_where_there_is_room_for_one(steps: int) -> None:
    trial = Trial(Stage("s0", "net", "train", {}, (), {}), [], Path(), steps=steps)
    kept = (trial.kill_after - 1) // trial.every * trial.every

    assert 0 < trial.kill_after < steps
    assert kept < trial.kill_after
    assert kept > 0 or steps == 2
