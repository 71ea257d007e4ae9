"""Several steps at once are the same steps, and are only done where a timing says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend, TrainResult, load
from etude.backends.dispatch import TIMED_STEPS, WARM_STEPS, Dispatch
from etude.backends.feeding import VARIABLE
from etude.backends.jax.chunks import has_convolution, is_faster
from etude.backends.timetable import Period, Timetable

Spec = dict[str, Any]
Make = Callable[..., Spec]
Run = Callable[..., TrainResult]


@pytest.fixture
def jax_backend() -> Backend:
    return load("jax", device="cpu", threads=1)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Every program counts as small and every gain as worth it; what is measured is kept nowhere else."""
    monkeypatch.setattr("etude.backends.dispatch.SMALL_SECONDS", 1e9)
    monkeypatch.setattr("etude.backends.dispatch.WORTH_SECONDS", 0.0)
    monkeypatch.setattr("etude.backends.jax.train.ENOUGH", 1e9)
    monkeypatch.setattr("etude.backends.jax.chunks.compiled_folder", lambda: tmp_path)
    return monkeypatch


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3, "noise": 0.1, "batch": 24}, {"valid": None}])
@pytest.mark.parametrize("resident", ["1000000", "0"])
def test_several_steps_at_once_give_the_same_bits(
    run: Run, jax_backend: Backend, train_spec: Make, always: pytest.MonkeyPatch, settings: Spec, resident: str
) -> None:
    always.setenv(VARIABLE, resident)
    spec = train_spec(**settings, budget={"epochs": 6})
    several = run(jax_backend, spec)
    always.setattr("etude.backends.jax.train.JaxSession.chunks", None)
    single = run(jax_backend, spec)

    assert (several.at_once, single.at_once) == (200 // spec["batch"], 1)
    assert several.history == single.history
    assert (several.steps, several.kept) == (single.steps, single.kept)
    for first, second in zip(several.weights, single.weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_each_step_of_several_has_a_row_of_its_own(
    run: Run, jax_backend: Backend, train_spec: Make, always: pytest.MonkeyPatch
) -> None:
    history = run(jax_backend, train_spec(valid=None, budget={"epochs": 4}), record="step").history

    assert [row["step"] for row in history] == list(range(1, len(history) + 1))
    assert len({row["loss"] for row in history}) == len(history)


def test_what_was_measured_is_not_measured_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("etude.backends.jax.chunks.compiled_folder", lambda: tmp_path)
    calls = []

    def measure() -> bool:
        calls.append(1)
        return True

    assert [is_faster(["a", 3], measure) for _ in range(3)] == [True] * 3
    assert len(calls) == 1
    assert is_faster(["b", 3], lambda: False) is False


def dispatch(last: int, better: bool, seen: list[int]) -> Dispatch:
    timetable = Timetable.of(
        {
            "steps": [{"loss": {"subs": [{"outputs": []}]}, "optimizer": {"lr": 0.1}}],
            "schedule": {"name": "constant"},
            "batch": 10,
            "budget": {"steps": last},
            "valid": None,
            "seed": 0,
            "identity": "00c0ffee",
        },
        105,
    )

    def is_better(size: int) -> bool:
        seen.append(size)
        return better

    return Dispatch(timetable, last, True, lambda: None, is_better)


@pytest.mark.parametrize("better", [True, False])
def test_no_dispatch_goes_past_a_mark_or_the_end(monkeypatch: pytest.MonkeyPatch, better: bool) -> None:
    monkeypatch.setattr("etude.backends.dispatch.WORTH_SECONDS", -1.0)
    monkeypatch.setattr("etude.backends.dispatch.SMALL_SECONDS", 1e9)
    seen: list[int] = []
    plan, done, taken = dispatch(100, better, seen), 0, []
    while done < 100:
        taken.append((done, plan.steps(done)))
        done += taken[-1][1]

    assert done == 100
    assert seen == [10]
    assert {count for _, count in taken} == ({1, 10} if better else {1})
    for start, count in taken:
        assert not any(plan.timetable.is_epoch_end(step) for step in range(start + 1, start + count))
    assert [count for _, count in taken[: WARM_STEPS + TIMED_STEPS]] == [1] * (WARM_STEPS + TIMED_STEPS)


def test_a_training_that_is_soon_over_tries_nothing() -> None:
    seen: list[int] = []
    plan = dispatch(20, True, seen)

    assert [plan.steps(done) for done in range(20)] == [1] * 20
    assert seen == []


@pytest.mark.parametrize(("rows", "parts", "batch"), [(105, 1, 10), (7, 1, 3), (640, 3, 64), (10, 1, 40), (5, 2, 1)])
def test_the_next_end_of_a_period_is_where_it_ends(rows: int, parts: int, batch: int) -> None:
    period = Period(rows, parts)
    ends = [step for step in range(1, 200) if period.ends_at(step * batch, batch)]

    for done in range(100):
        assert period.next_end(done, batch) == next(step for step in ends if step > done)


def test_convolutions_and_players_that_rest_are_left_alone(train_spec: Make) -> None:
    spec = train_spec()
    assert not has_convolution(spec)
    spec["steps"][0]["loss"]["subs"][0]["ops"].append(["conv", [], {}, []])
    assert has_convolution(spec)


def test_a_killed_training_of_several_steps_at_once_ends_with_the_same_bits(
    run: Run,
    jax_backend: Backend,
    train_spec: Make,
    always: pytest.MonkeyPatch,
    taken_up: Any,
    assert_equal_to_the_bit: Any,
) -> None:
    spec = train_spec(dropout=0.2, budget={"epochs": 6})

    rest = taken_up(lambda keeper: run(jax_backend, spec, keeper=keeper), every=8, end=21)
    always.setattr("etude.backends.jax.train.JaxSession.chunks", None)

    assert rest.at_once > 1
    assert_equal_to_the_bit(rest, run(jax_backend, spec))
