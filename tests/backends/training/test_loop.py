"""The loop over a session of its own: least squares in numpy, whose numbers can be told in advance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Array, Record, TrainingError, TrainingStopped, TrainResult
from etude.backends.batches import Index
from etude.backends.feeding import Batch, numpy_buffers
from etude.backends.timetable import Clock
from etude.backends.training import train_session
from etude.backends.weights import load_weights

ROWS = 10
LOSS = {"subs": [{"outputs": [["entropy", 0], ["penalty", 1]]}]}


class Counting:
    """A session whose weight is the number of its steps; losses, scores and weights may be scripted."""

    source, chunks, buffers = None, None, staticmethod(numpy_buffers)

    def __init__(
        self,
        losses: Mapping[int, float] | None = None,
        scores: Sequence[float] = (),
        weights: Mapping[int, float] | None = None,
    ) -> None:
        self.scripted, self.scores, self.weight = dict(losses or {}), list(scores), dict(weights or {})
        self.done, self.reads = 0, 0
        self.seen: list[tuple[list[int], int, list[float | None]]] = []
        self.clocks: list[Clock] = []
        self.evaluation_keys: list[int] = []
        self.waiting: list[dict[str, float]] = []

    def step(self, index: Index | Batch, key: int, rates: Sequence[float | None], clock: Clock) -> None:
        assert isinstance(index, np.ndarray)
        self.done += 1
        self.seen.append((index.tolist(), key, list(rates)))
        self.clocks.append(clock)
        self.waiting.append({"penalty": 0.5, "loss": self.scripted.get(self.done, 1.0 / self.done)})

    def losses(self) -> list[dict[str, float]]:
        self.reads += 1
        terms, self.waiting = self.waiting, []
        return terms

    def evaluate(self, key: int) -> dict[str, float]:
        self.evaluation_keys.append(key)
        return {"loss": 2.0 / self.done, "accuracy": self.scores.pop(0) if self.scores else 0.0}

    def weights(self) -> list[Array]:
        return [np.array([self.weight.get(self.done, self.done)], np.float32)]

    def state(self) -> dict[str, Array]:
        return {"done": np.array(self.done)}

    def restore(self, state: Mapping[str, Array]) -> None:
        self.done = int(state["done"])


def spec(**settings: Any) -> dict[str, Any]:
    return {
        "steps": [{"loss": LOSS, "update": [0], "optimizer": {"name": "adamw", "lr": 0.1}, "every": 1}],
        "slots": [],
        "schedule": {"name": "constant"},
        "batch": 4,
        "budget": {"epochs": 2},
        "valid": {"every": {"epochs": 1}},
        "seed": 3,
        "identity": "00c0ffee" * 8,
    } | settings


def run(
    session: Counting,
    settings: Mapping[str, Any],
    tmp_path: Path,
    *,
    events: list[Any] | None = None,
    limit: int | None = None,
    record: Record = "epoch",
    stop_after: float = math.inf,
) -> TrainResult:
    return train_session(
        session,
        settings,
        np.arange(ROWS, dtype=np.uint64),
        {},
        tmp_path,
        emit=(events if events is not None else []).append,
        stop=lambda: session.done >= stop_after,
        limit=limit,
        record=record,
    )


def test_history_has_a_row_per_epoch_with_the_mean_loss_since_the_row_before(tmp_path: Path) -> None:
    result = run(Counting(scores=[0.5, 0.75]), spec(), tmp_path)

    assert result.history == [
        {
            "step": 3,
            "epoch": 1.2,
            "loss": pytest.approx((1 + 1 / 2 + 1 / 3) / 3),
            "penalty": 0.5,
            "lr": 0.1,
            "valid.loss": pytest.approx(2 / 3),
            "valid.accuracy": 0.5,
        },
        {
            "step": 5,
            "epoch": 2.0,
            "loss": pytest.approx((1 / 4 + 1 / 5) / 2),
            "penalty": 0.5,
            "lr": 0.1,
            "valid.loss": pytest.approx(2 / 5),
            "valid.accuracy": 0.75,
        },
    ]


def test_losses_are_read_at_the_rows_of_the_history_only(tmp_path: Path) -> None:
    session = Counting()
    run(session, spec(budget={"epochs": 4}), tmp_path)

    assert (session.done, session.reads) == (10, 4)


def test_history_by_step_has_a_row_per_step_and_reads_no_more_often(tmp_path: Path) -> None:
    session = Counting()
    result = run(session, spec(), tmp_path, record="step")

    assert [row["loss"] for row in result.history] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert [row["step"] for row in result.history] == [1, 2, 3, 4, 5]
    assert ["valid.loss" in row for row in result.history] == [False, False, True, False, True]
    assert session.reads == 2


def test_every_row_is_taken_once_in_each_epoch_though_batches_straddle(tmp_path: Path) -> None:
    session = Counting()
    run(session, spec(budget={"epochs": 6}), tmp_path)

    taken = [row for index, _, _ in session.seen for row in index]
    assert [sorted(taken[i : i + ROWS]) for i in range(0, 60, ROWS)] == [list(range(ROWS))] * 6


def test_each_step_has_its_own_key_and_every_validation_the_same(tmp_path: Path) -> None:
    session = Counting()
    run(session, spec(), tmp_path)

    keys = [key for _, key, _ in session.seen]
    assert len({*keys, *session.evaluation_keys}) == 6
    assert len(set(session.evaluation_keys)) == 1


def test_the_keys_depend_on_seed_and_identity(tmp_path: Path) -> None:
    sessions = [Counting(), Counting(), Counting()]
    for session, settings in zip(sessions, [spec(), spec(seed=4), spec(identity="0123abcd")], strict=True):
        run(session, settings, tmp_path)

    assert len({session.seen[0][1] for session in sessions}) == 3


def test_validation_may_come_every_so_many_steps_and_always_comes_last(tmp_path: Path) -> None:
    result = run(Counting(), spec(valid={"every": {"steps": 2}}, budget={"steps": 5}), tmp_path)

    assert [row["step"] for row in result.history if "valid.loss" in row] == [2, 4, 5]


def test_validation_may_come_every_part_of_an_epoch(tmp_path: Path) -> None:
    result = run(Counting(), spec(valid={"every": {"epochs": 0.5}}, budget={"epochs": 4}), tmp_path)

    # half epochs end after 5, 10, .. rows, so within steps of 4 rows that end at 8, 12, 16, 20, ..
    assert [row["step"] for row in result.history if "valid.loss" in row] == [2, 3, 4, 5, 7, 8, 9, 10]


def test_without_validation_there_is_a_row_per_epoch(tmp_path: Path) -> None:
    result = run(Counting(), spec(valid=None), tmp_path)

    assert [list(row) for row in result.history] == [["step", "epoch", "loss", "penalty", "lr"]] * 2


def test_the_best_weights_by_score_are_kept_the_earliest_of_equals(tmp_path: Path) -> None:
    session = Counting(scores=[0.5, 0.9, 0.9, 0.7])
    result = run(session, spec(keep="best", score="accuracy", budget={"epochs": 4}), tmp_path)

    assert (result.kept, result.steps) == (5, 10)
    assert result.weights == [np.array([5.0])]


def test_patience_ends_the_run(tmp_path: Path) -> None:
    session = Counting(scores=[0.5, 0.9, 0.9, 0.7, 0.8])
    result = run(session, spec(keep="best", score="accuracy", patience=2, budget={"epochs": 40}), tmp_path)

    assert (result.kept, result.steps) == (5, 10)


def test_all_checkpoints_are_kept(tmp_path: Path) -> None:
    result = run(Counting(), spec(keep="all", checkpoints={"every": {"epochs": 1}, "count": 2}), tmp_path)

    assert [(c.step, c.epoch, c.weights[0].item()) for c in result.checkpoints] == [(3, 1.2, 3.0), (5, 2.0, 5.0)]


def test_min_steps_are_taken_however_small_the_budget(tmp_path: Path) -> None:
    assert run(Counting(), spec(budget={"epochs": 1, "min_steps": 17}), tmp_path).steps == 17


def test_the_rate_follows_the_schedule_of_the_whole_budget_even_under_a_limit(tmp_path: Path) -> None:
    session = Counting()
    run(session, spec(schedule={"name": "linear_decay"}), tmp_path, limit=2)

    assert [rates for _, _, rates in session.seen] == [[0.1], [pytest.approx(0.08)]]


def test_players_have_their_own_rates_and_turns(tmp_path: Path) -> None:
    session = Counting()
    players = [{"loss": LOSS, "optimizer": {"lr": 0.1}, "every": 2}, {"loss": LOSS, "optimizer": {"lr": 0.01}}]
    run(session, spec(steps=players, budget={"steps": 3}), tmp_path)

    assert [rates for _, _, rates in session.seen] == [[0.1, 0.01], [None, 0.01], [0.1, 0.01]]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_fails_at_its_step_and_the_weights_before_are_kept(
    tmp_path: Path, bad: float
) -> None:
    with pytest.raises(TrainingError) as caught:
        run(Counting(losses={7: bad, 8: bad}), spec(budget={"epochs": 6}), tmp_path)

    error = caught.value
    assert (error.step, error.term, error.last_good_step) == (7, "loss", 5)
    assert not math.isfinite(error.loss if error.loss is not None else 0.0)
    assert load_weights(error.checkpoint) == [np.array([5.0], np.float32)]
    assert str(error) == f"the loss is {bad} at step 7; the weights after step 5 are kept"


def test_weights_that_are_not_finite_fail_though_no_loss_saw_them(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        run(Counting(weights={5: math.nan}), spec(), tmp_path)

    assert (caught.value.step, caught.value.term, caught.value.last_good_step) == (5, "weights", 3)


def test_a_failure_in_the_first_epoch_keeps_the_initial_weights(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        run(Counting(losses={1: math.nan}), spec(), tmp_path)

    assert (caught.value.step, caught.value.last_good_step) == (1, 0)
    assert load_weights(caught.value.checkpoint) == [np.array([0.0], np.float32)]


def test_a_stop_is_heeded_before_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped) as caught:
        run(Counting(), spec(), tmp_path, stop_after=3)

    assert caught.value.step == 3


def test_progress_is_told_at_the_end_at_least(tmp_path: Path) -> None:
    events: list[Any] = []
    run(Counting(), spec(), tmp_path, events=events)

    last = events[-1]
    assert (last["kind"], last["step"], last["steps"], last["epoch"]) == ("progress", 5, 5, 2.0)
    assert last["loss"] == pytest.approx((1 / 4 + 1 / 5) / 2)
    assert last["rows_per_second"] > 0


def test_progress_tells_every_term_and_every_row_of_the_history_once(tmp_path: Path) -> None:
    events: list[Any] = []
    result = run(Counting(), spec(), tmp_path, events=events)

    assert [row for event in events for row in event["history"]] == result.history
    assert events[-1]["terms"]["loss"] == events[-1]["loss"]
    assert not events[-1]["terms"].keys() & {"step", "epoch", "lr"}
