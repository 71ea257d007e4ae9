"""Whole train stages on each framework."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend, Rows, TrainingError, TrainResult
from etude.backends.batches import NoRowsError
from etude.backends.inputs import initial_weights
from etude.backends.weights import load_weights

Spec = dict[str, Any]
Make = Callable[..., Spec]
Run = Callable[..., TrainResult]


def test_training_on_blobs_learns_them(backend: Backend, train_spec: Make, run: Run) -> None:
    result = run(backend, train_spec(dropout=0.1, noise=0.1))

    losses = [row["loss"] for row in result.history]
    assert losses == sorted(losses, reverse=True)
    assert result.history[-1]["valid.accuracy"] > 0.95
    assert (result.steps, len(result.history)) == (32, 5)


def test_two_runs_are_bit_identical(backend: Backend, train_spec: Make, run: Run) -> None:
    spec = train_spec(dropout=0.2, noise=0.1)

    first, second = run(backend, spec), run(backend, spec)

    assert first.history == second.history
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_seed_and_the_identity_change_the_draws_of_a_run(backend: Backend, train_spec: Make, run: Run) -> None:
    losses = {
        run(backend, train_spec(noise=0.5, budget={"steps": 2}, **other)).history[0]["loss"]
        for other in ({}, {"seed": 4}, {"identity": "0123abcd"})
    }

    assert len(losses) == 3


def test_named_terms_are_columns_and_the_loss_is_their_sum(backend: Backend, train_spec: Make, run: Run) -> None:
    row = run(backend, train_spec(penalty=0.1)).history[0]

    assert list(row) == ["step", "epoch", "loss", "entropy", "size", "lr", "valid.loss", "valid.accuracy"]
    assert row["loss"] == pytest.approx(row["entropy"] + row["size"], rel=1e-6)


def test_the_mean_loss_of_an_epoch_is_that_of_its_steps(backend: Backend, train_spec: Make, run: Run) -> None:
    by_epoch, by_step = (run(backend, train_spec(), record=record).history for record in ("epoch", "step"))

    assert by_epoch[0]["loss"] == pytest.approx(np.mean([row["loss"] for row in by_step[:7]]))
    assert by_step[6]["valid.loss"] == by_epoch[0]["valid.loss"]


def test_validation_is_the_mean_over_rows_though_the_last_batch_is_smaller(
    backend: Backend, train_spec: Make, run: Run, valid: Rows
) -> None:
    one, many = (run(backend, train_spec(lr=0.0, batch=batch, budget={"steps": 1})) for batch in (90, 32))

    assert many.history[0]["valid.loss"] == pytest.approx(one.history[0]["valid.loss"], rel=1e-5)
    assert many.history[0]["valid.accuracy"] == one.history[0]["valid.accuracy"]


def test_validation_is_in_evaluation_mode(backend: Backend, train_spec: Make, run: Run) -> None:
    with_dropout, without = (run(backend, train_spec(lr=0.0, dropout=rate)).history[0] for rate in (0.5, 0.0))

    assert with_dropout["loss"] != without["loss"]
    assert with_dropout["valid.loss"] == without["valid.loss"]


def test_the_best_weights_are_those_that_were_validated(
    backend: Backend, train_spec: Make, rows_spec: Spec, run: Run, valid: Rows
) -> None:
    # a rate that overshoots: the best validation is not the last, and two are equally good
    spec = train_spec(lr=0.3, noise=1.0, keep="best", score="accuracy", batch=16)
    result = run(backend, spec)

    scores = [row["valid.accuracy"] for row in result.history]
    best = scores.index(max(scores))
    kept = rows_spec | {"slots": [slot | {"source": {"input": 0, "index": i}} for i, slot in enumerate(spec["slots"])]}
    accuracy = backend.rows(kept, *valid, {0: result.weights})["accuracy"].mean()
    assert result.kept == result.history[best]["step"] < result.steps
    assert accuracy == pytest.approx(max(scores))


def test_patience_stops_a_run_that_gets_no_better(backend: Backend, train_spec: Make, run: Run) -> None:
    result = run(backend, train_spec(lr=0.0, keep="best", patience=3, budget={"epochs": 50}))

    assert len(result.history) == 4
    assert result.kept == 7


@pytest.mark.parametrize("patience", [{"epochs": 3}, {"steps": 15}, {"examples": 600}])
def test_patience_may_be_a_duration(backend: Backend, train_spec: Make, run: Run, patience: dict[str, int]) -> None:
    spec = train_spec(lr=0.0, keep="best", patience=patience, budget={"epochs": 50})
    result = run(backend, spec)

    rows = round(result.history[0]["step"] * spec["batch"] / result.history[0]["epoch"])
    given = {"epochs": rows, "steps": spec["batch"], "examples": 1}
    expected = -(-sum(given[unit] * amount for unit, amount in patience.items()) // rows)
    assert len(result.history) == 1 + expected


def test_all_checkpoints_differ_and_the_last_is_the_result(backend: Backend, train_spec: Make, run: Run) -> None:
    result = run(backend, train_spec(keep="all", checkpoints={"every": {"epochs": 1}, "count": 5}))

    firsts = [checkpoint.weights[0] for checkpoint in result.checkpoints]
    assert len(firsts) == 5
    assert all(not np.array_equal(a, b) for a, b in pairwise(firsts))
    np.testing.assert_array_equal(firsts[-1], result.weights[0])


def test_weights_that_are_not_updated_stay_as_they_came(backend: Backend, train_spec: Make, run: Run) -> None:
    spec = train_spec()
    spec["steps"][0]["update"] = [2, 3]
    before = initial_weights(spec["slots"], {})

    after = run(backend, spec).weights

    assert [np.array_equal(a, b) for a, b in zip(after, before, strict=True)] == [True, True, False, False]


def test_players_update_their_own_weights_in_their_turns(backend: Backend, train_spec: Make, run: Run) -> None:
    spec = train_spec(valid=None, budget={"steps": 1})
    player = spec["steps"][0]
    spec["steps"] = [player | {"update": [0, 1]}, player | {"update": [2, 3], "every": 4}]

    result = run(backend, spec | {"budget": {"steps": 7}}, record="step")
    both, one = (run(backend, spec | {"budget": {"steps": steps}}).weights for steps in (1, 2))

    assert [list(row) for row in result.history[:2]] == [
        ["step", "epoch", "0.loss", "1.loss", "lr"],
        ["step", "epoch", "0.loss", "lr"],
    ]
    assert [np.array_equal(a, b) for a, b in zip(both, one, strict=True)] == [False, False, True, True]


def test_training_starts_from_the_weights_of_its_inputs(backend: Backend, train_spec: Make, run: Run) -> None:
    spec = train_spec(lr=0.0, budget={"steps": 1})
    trained = run(backend, train_spec()).weights
    spec["slots"] = [slot | {"source": {"input": 2, "index": 3 - i}} for i, slot in enumerate(spec["slots"])]

    result = run(backend, spec, weights={2: trained[::-1]})

    assert result.history[0]["valid.accuracy"] > 0.95
    for a, b in zip(result.weights, trained, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_does_not_touch_the_arrays_it_was_given(backend: Backend, train_spec: Make, run: Run, data: Rows) -> None:
    spec = train_spec()
    spec["slots"] = [slot | {"source": {"input": 2, "index": i}} for i, slot in enumerate(spec["slots"])]
    given = initial_weights(train_spec()["slots"], {})
    before = [weight.copy() for weight in given]

    run(backend, spec, weights={2: given})

    for a, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loss_that_is_no_number_fails_at_its_step_with_the_weights_before(
    backend: Backend, train_spec: Make, run: Run, data: Rows, tmp_path: Path
) -> None:
    points = data[0]["points"].copy()
    points[17, 3] = np.nan

    with pytest.raises(TrainingError) as caught:
        run(backend, train_spec(penalty=0.1, valid=None), on=({**data[0], "points": points}, data[1]))

    error = caught.value
    assert 1 <= error.step <= 7
    assert error.term in {"entropy", "size"}
    assert error.last_good_step == 0
    assert error.checkpoint == tmp_path / "last_good.safetensors"
    for kept, initial in zip(load_weights(error.checkpoint), initial_weights(train_spec()["slots"], {}), strict=True):
        np.testing.assert_array_equal(kept, initial)


def test_a_run_that_diverges_keeps_the_last_finite_weights(
    backend: Backend, train_spec: Make, run: Run, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError) as caught:
        run(backend, train_spec(lr=1e20, penalty=1.0, valid=None, budget={"epochs": 50}))

    kept = load_weights(caught.value.checkpoint)
    assert caught.value.last_good_step < caught.value.step
    assert all(np.isfinite(weight).all() for weight in kept)


def test_clipping_bounds_the_step(backend: Backend, train_spec: Make, run: Run) -> None:
    free, clipped = (run(backend, train_spec(clip=clip, budget={"steps": 3})).weights[0] for clip in (None, 1e-9))
    start = initial_weights(train_spec()["slots"], {})[0]

    # gradients far below AdamW's epsilon of 1e-8 move weights less than a full step does
    assert np.abs(clipped - start).max() < 0.5 * np.abs(free - start).max()


def test_the_source_is_written_beside_the_run(backend: Backend, train_spec: Make, run: Run, tmp_path: Path) -> None:
    spec = train_spec()
    run(backend, spec)

    assert (tmp_path / "step.py").read_text() == backend.source(spec)
    assert "def step(" in backend.source(spec)


def test_a_backend_says_what_it_is(backend: Backend) -> None:
    described = backend.describe()

    assert described["backend"] == backend.name
    assert described["device"] == "cpu"
    assert backend.name in described["versions"]


def test_no_rows_are_refused(backend: Backend, train_spec: Make, run: Run, data: Rows) -> None:
    nothing = ({name: column[:0] for name, column in data[0].items()}, data[1][:0])

    with pytest.raises(NoRowsError, match="no rows to train on"):
        run(backend, train_spec(), on=nothing)
