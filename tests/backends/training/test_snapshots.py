"""A training that is ended anywhere and taken up from what was kept of it ends with the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from etude.backends.base import Backend, Extras, TrainingError, TrainResult, load
from etude.backends.feeding import VARIABLE
from etude.backends.snapshots import Snapshot
from etude.backends.takeover import OtherRunError

Spec = dict[str, Any]
Make = Callable[..., Spec]
Run = Callable[..., TrainResult]

OFTEN = {"every": {"steps": 3}}


@pytest.mark.parametrize(
    ("settings", "end"),
    [
        ({"keep": "best", "patience": 4, "lr": 0.3}, 11),
        (
            {
                "keep": "all",
                "checkpoints": {"every": {"steps": 3}, "count": 5},
                "schedule": {"name": "cosine", "warmup": {"steps": 4}},
            },
            14,
        ),
    ],
)
def test_a_training_ends_with_the_same_bits(
    backend: Backend, train_spec: Make, run: Run, taken_up: Any, assert_equal_to_the_bit: Any, settings: Spec, end: int
) -> None:
    spec = train_spec(dropout=0.2, noise=0.1, penalty=0.1, **settings)
    spec["valid"] |= OFTEN

    assert_equal_to_the_bit(
        taken_up(lambda keeper: run(backend, spec, keeper=keeper), every=4, end=end), run(backend, spec)
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"order": {"": {"column": "label", "start": 0.2, "until": 0.8, "power": 1.0}}, "accumulate": 3},
        {"weights": {"": "label"}},
    ],
)
def test_a_training_in_an_order_of_its_own_and_in_parts_ends_with_the_same_bits(
    backend: Backend, train_spec: Make, run: Run, taken_up: Any, assert_equal_to_the_bit: Any, settings: Spec
) -> None:
    spec = train_spec(**settings)

    assert_equal_to_the_bit(
        taken_up(lambda keeper: run(backend, spec, keeper=keeper), every=4, end=13), run(backend, spec)
    )


def test_a_training_that_goes_on_from_another_ends_with_the_same_bits(
    backend: Backend, train_spec: Make, run: Run, taken_up: Any, assert_equal_to_the_bit: Any
) -> None:
    first = run(backend, train_spec(budget={"steps": 6}), extras=Extras(keeps_end=True))
    spec = train_spec(watch={"every": {"steps": 3}}, budget={"steps": 14})
    extras = Extras(start=first.end, watch=lambda weights: {"watch.size": float(abs(weights[0]).sum())}, keeps_end=True)

    whole = run(backend, spec, extras=extras)
    killed = taken_up(lambda keeper: run(backend, spec, keeper=keeper, extras=extras), every=4, end=15)

    assert_equal_to_the_bit(killed, whole)
    assert (first.steps, whole.steps) == (6, 20)
    assert [row["step"] for row in whole.history if "watch.size" in row] == [9, 12, 15, 18, 20]
    assert killed.end is not None and whole.end is not None
    assert {name: array.tobytes() for name, array in killed.end.state.items()} == {
        name: array.tobytes() for name, array in whole.end.state.items()
    }


def test_an_optimizer_of_other_weights_is_not_gone_on_with(backend: Backend, train_spec: Make, run: Run) -> None:
    spec = train_spec(budget={"steps": 2})
    spec["steps"][0]["update"] = [2, 3]
    first = run(backend, spec, extras=Extras(keeps_end=True))
    with pytest.raises(OtherRunError, match="the training to go on from has"):
        run(backend, train_spec(), extras=Extras(start=first.end))


def test_a_training_on_files_ends_with_the_same_bits(
    backend: Backend,
    train_spec: Make,
    run: Run,
    taken_up: Any,
    assert_equal_to_the_bit: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    spec = train_spec(dropout=0.2)

    assert_equal_to_the_bit(
        taken_up(lambda keeper: run(backend, spec, keeper=keeper), every=5, end=13), run(backend, spec)
    )


def test_what_is_kept_has_only_slots_that_change(
    backend: Backend, train_spec: Make, run: Run, taken_up: Any, assert_equal_to_the_bit: Any
) -> None:
    spec = train_spec(keep="best", budget={"steps": 9})
    spec["valid"] |= OFTEN
    spec["steps"][0]["update"] = [2, 3]
    seen: list[set[str]] = []

    def train(keeper: Any) -> TrainResult:
        result = run(backend, spec, keeper=keeper)
        seen.append({name for name in keeper.snapshot.state if name.startswith("weights.")})
        assert all(weights.keys() == seen[0] for weights in keeper.snapshot.kept.values())
        return result

    assert_equal_to_the_bit(taken_up(train, every=4, end=6), run(backend, spec))
    assert seen == [{"weights.2", "weights.3"}]


class Collecting:
    """A keeper that wants every step and writes nothing."""

    def __init__(self) -> None:
        self.taken: list[Snapshot | None] = []

    def latest(self) -> None:
        return None

    def is_due(self, step: int) -> bool:
        return True

    def keep(self, take: Callable[[], Snapshot | None], *, wait: bool = False) -> bool:
        self.taken.append(take())
        return True


def test_weights_that_are_no_numbers_are_not_kept(train_spec: Make, run: Run) -> None:
    keeper, backend = Collecting(), load("torch", device="cpu", threads=1)

    with pytest.raises(TrainingError, match="at step 2"):
        run(backend, train_spec(lr=1e39, valid=None), keeper=keeper)

    assert keeper.taken == [None]
