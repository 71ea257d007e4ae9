"""Durations, rates and periods of scripts are those of the timetable of a run."""

from __future__ import annotations

from typing import Any

import pytest

from etude.backends.batches import batch_rows
from etude.backends.eject import About
from etude.backends.eject.loops import loop_text
from etude.backends.eject.settings import LoopSettings
from etude.backends.timetable import Timetable

VALID = {"loss": {"subs": [{"inputs": [], "outputs": [["", None]]}]}, "every": {"epochs": 1}}


def spec(**settings: Any) -> dict[str, Any]:
    """A train stage whose programs say nothing but that they have one loss."""
    player = {"loss": {"subs": [{"inputs": [], "outputs": [["", None]]}]}, "optimizer": {"lr": 0.1}, "every": 1}
    return {
        "steps": [player],
        "schedule": {"name": "constant"},
        "batch": 32,
        "budget": {"epochs": 3},
        "valid": None,
        "seed": 3,
        "identity": "00c0ffee",
        "inputs": {"on": 0, "valid": None},
    } | settings


def loop(settings: LoopSettings) -> dict[str, Any]:
    names: dict[str, Any] = {"__file__": "train.py"}
    exec(loop_text("torch", settings, About(stage="net", recipe="test.etude")), names)
    return names


@pytest.mark.parametrize("rows", [7, 64, 100])
@pytest.mark.parametrize(
    "budget", [{"epochs": 2.5}, {"steps": 9}, {"examples": 200}, {"epochs": 3, "min_steps": 20}, {"steps": 0}]
)
def test_a_budget_is_as_many_steps_as_in_a_run(budget: dict[str, Any], rows: int) -> None:
    given = spec(budget=budget)
    steps = eval(LoopSettings.of(given).steps, {"rows": rows, "size": batch_rows(32, rows)})
    assert steps == Timetable.of(given, rows).steps


@pytest.mark.parametrize("warmup", [0.0, 0.3, {"steps": 2}, {"epochs": 1.5}])
@pytest.mark.parametrize("name", ["constant", "cosine", "linear_decay", "exponential", "step_decay", "one_cycle"])
@pytest.mark.parametrize("final", [0.0, 0.1])
def test_rates_are_those_of_a_run_to_the_bit(name: str, warmup: Any, final: float) -> None:
    more = {"rate": 0.3, "at": [0.5, 0.8], "start": 0.1, "peak": 0.4}
    given = spec(schedule={"name": name, "warmup": warmup, "final": final, **more})
    settings, timetable = LoopSettings.of(given), Timetable.of(given, 100)
    factor, known = loop(settings).get("factor", lambda *_: 1.0), {"rows": 100, "size": 32, "steps": timetable.steps}
    steps = range(timetable.steps)
    assert [factor(i, timetable.steps, eval(settings.warmup, known)) for i in steps] == list(
        map(timetable.factor, steps)
    )


@pytest.mark.parametrize("every", [{"epochs": 1}, {"epochs": 0.5}, {"epochs": 2}, {"steps": 3}, {"examples": 50}])
@pytest.mark.parametrize("rows", [7, 100])
def test_validations_come_when_they_come_in_a_run(every: dict[str, Any], rows: int) -> None:
    given = spec(valid={**VALID, "every": every})
    settings, timetable, size = LoopSettings.of(given), Timetable.of(given, rows), batch_rows(32, rows)
    known = {"rows": rows, "size": size, "passes": loop(settings)["passes"]}
    found = [eval(f"passes({done}, size, {settings.valid_period})", known) or done == 20 for done in range(1, 21)]
    ends = [eval(f"passes({done}, size, rows)", known) for done in range(1, 21)]
    assert found == [timetable.is_validation(done) or done == 20 for done in range(1, 21)]
    assert ends == [timetable.is_epoch_end(done) for done in range(1, 21)]
