from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from etude.backends import parity
from etude.backends.base import Backend, Rows, load
from etude.backends.inputs import initial_weights
from etude.backends.numerics import Numerics
from etude.backends.parity import compare_rows, compare_train, roundings_off

Spec = dict[str, Any]
Make = Callable[..., Spec]


@pytest.fixture
def both() -> list[Backend]:
    return [load(name, device="cpu", threads=1) for name in ("torch", "jax")]


def test_the_backends_agree_over_ten_steps_with_dropout_and_noise(
    both: list[Backend], train_spec: Make, data: Rows, valid: Rows
) -> None:
    spec = train_spec(dropout=0.2, noise=0.1, penalty=0.1, clip=1.0, schedule={"name": "cosine", "warmup": 0.1})

    found = compare_train(both, spec, *data, valid, {}, steps=10)

    assert found["steps"] == 10
    assert found["loss_difference"] <= 1e-5
    assert found["weights_difference"] <= 1e-5
    assert found["agrees"]


def test_the_backends_agree_on_players_that_take_turns(
    both: list[Backend], train_spec: Make, data: Rows, valid: Rows
) -> None:
    spec = train_spec(noise=0.1, valid=None)
    player = spec["steps"][0]
    spec["steps"] = [player | {"update": [2, 3], "every": 2}, player | {"update": [0, 1]}]

    found = compare_train(both, spec, *data, None, {}, steps=10)

    assert found["loss_difference"] <= 1e-5
    assert found["agrees"]


def test_the_backends_reach_the_same_accuracy(both: list[Backend], train_spec: Make, run: Callable[..., Any]) -> None:
    first, second = (run(backend, train_spec(dropout=0.2, noise=0.1)).history[-1] for backend in both)

    assert first["valid.accuracy"] == second["valid.accuracy"]
    assert first["loss"] == pytest.approx(second["loss"], abs=1e-4)


def test_another_program_does_not_agree(
    both: list[Backend], train_spec: Make, data: Rows, valid: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "MOVES", 8)

    class Unlike:
        """A backend that trains with a rate a thousandth larger."""

        name = "unlike"

        def train(self, spec: Spec, *arguments: Any, **named: Any) -> Any:
            player = spec["steps"][0]
            optimizer = player["optimizer"] | {"lr": player["optimizer"]["lr"] * 1.001}
            return both[0].train({**spec, "steps": [player | {"optimizer": optimizer}]}, *arguments, **named)

    found = compare_train([both[0], Unlike()], train_spec(lr=0.1), *data, valid, {}, steps=10)  # type: ignore[list-item]

    assert found["loss_difference"] > found["tolerance"]
    assert not found["agrees"]


def test_a_kink_that_only_the_second_backend_is_close_to_is_no_disagreement(
    both: list[Backend], train_spec: Make, data: Rows
) -> None:
    spec = train_spec(valid=None)
    start = initial_weights(spec["slots"], {})

    class AtKink:
        """A backend whose losses jump as soon as the weights move."""

        name = "at kink"

        def train(self, spec: Spec, *arguments: Any, **named: Any) -> Any:
            found, weights = both[0].train(spec, *arguments, **named), arguments[3][0]
            if all(np.array_equal(a, b) for a, b in zip(weights, start, strict=True)):
                found.history[-1]["loss"] += 5e-5
            return found

    found = compare_train([both[0], AtKink()], spec, *data, None, {}, steps=3)  # type: ignore[list-item]

    assert found["loss_difference"] > 1e-5
    assert found["agrees"]


@pytest.mark.parametrize(("apart", "agrees"), [(5e-4, True), (2e-3, False)])
def test_losses_far_above_one_are_compared_by_their_share(
    both: list[Backend], train_spec: Make, data: Rows, apart: float, agrees: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "MOVES", 1)

    def above(offset: float) -> Any:
        """A backend whose losses are all that much larger."""

        class Above:
            name = "above"

            def train(self, spec: Spec, *arguments: Any, **named: Any) -> Any:
                found = both[0].train(spec, *arguments, **named)
                for entry in found.history:
                    entry["loss"] += offset
                return found

        return Above()

    found = compare_train([above(100.0), above(100.0 + apart)], train_spec(valid=None), *data, None, {}, steps=3)

    assert found["loss_difference"] == pytest.approx(apart, rel=0.1)
    assert found["agrees"] == agrees


def test_measurements_agree(both: list[Backend], rows_spec: Spec, data: Rows) -> None:
    found = compare_rows(both, rows_spec, *data, {})

    assert found["agrees"]
    assert (found["rows"], found["changed"]) == (200, 0.0)


def test_one_rounding_moves_every_weight_to_a_neighbour() -> None:
    weight = np.array([[1.0, -1.0, 0.5], [3.0, 1e-3, 7.0]], np.float32)
    (moved,) = roundings_off([weight])

    assert moved.dtype == np.float32
    assert np.all(moved != weight)
    assert np.abs(moved / weight - 1).max() <= 2.0**-23
    assert not np.array_equal(moved, roundings_off([weight], move=1)[0])


def test_ten_roundings_are_ten_times_as_far() -> None:
    weight = np.array([1.0, -1.5, 3.0], np.float32)
    (near,), (far,) = (roundings_off([weight], move=0, count=count) for count in (1, 10))

    np.testing.assert_array_equal(far - weight, 10 * (near - weight))


def test_a_kink_that_only_a_longer_move_reaches_is_no_disagreement(
    both: list[Backend], train_spec: Make, data: Rows
) -> None:
    spec = train_spec(valid=None)
    start = initial_weights(spec["slots"], {})

    def beyond(offset: float) -> Any:
        """A backend whose losses jump where the weights move by more than a rounding; here it starts so far off."""

        class Beyond:
            name = "beyond"

            def train(self, spec: Spec, *arguments: Any, **named: Any) -> Any:
                found, weights = both[0].train(spec, *arguments, **named), arguments[3][0]
                moves = (np.abs(a - b) / np.spacing(np.abs(b)) for a, b in zip(weights, start, strict=True))
                is_far = max(float(move.max()) for move in moves) > 2
                found.history[-1]["loss"] += 2e-4 if is_far else offset
                return found

        return Beyond()

    found = compare_train([beyond(0.0), beyond(2e-4)], spec, *data, None, {}, steps=3)

    assert found["loss_difference"] > 1e-4
    assert found["agrees"]


def test_one_rounding_leaves_zeros_where_they_are() -> None:
    (moved,) = roundings_off([np.zeros(4, np.float32)])

    assert moved.tolist() == [0.0, 0.0, 0.0, 0.0]


def test_one_rounding_of_bf16_is_a_larger_move() -> None:
    weight = np.array([[1.0, -1.0, 0.5], [0.0, 1e-3, 7.0]], np.float32)
    (moved,) = roundings_off([weight], precision="bf16")

    assert moved.dtype == np.float32
    np.testing.assert_allclose(np.abs(moved - weight), np.abs(weight) * 2**-8, rtol=1e-3)


def test_the_backends_agree_in_bf16(train_spec: Make, data: Rows, valid: Rows) -> None:
    numerics = Numerics(precision="bf16")
    low = [load(name, device="cpu", threads=1, numerics=numerics) for name in ("torch", "jax")]
    spec = train_spec(dropout=0.2, noise=0.1, penalty=0.1)

    found = compare_train(low, spec, *data, valid, {}, steps=10, precision="bf16")

    assert found["agrees"]
    assert found["loss_difference"] < 0.02
