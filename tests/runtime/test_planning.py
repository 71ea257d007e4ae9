from __future__ import annotations

from pathlib import Path
from typing import Any

from etude.runtime.planning import PlannedStage, needed_stages, plan_stages, urgencies
from etude.runtime.stages import Settings
from etude.runtime.store import Store

Sketch = Any
Runs = Any
TORCH = Settings(backend="torch")


def planned(sketch: Sketch, store: Store, base: Path) -> dict[str, PlannedStage]:
    return {each.stage.name: each for each in plan_stages(sketch.workflow, store, TORCH, base).values()}


def chain(sketch: Sketch) -> None:
    data = sketch.load("numbers.csv", name="numbers")
    sketch.measure(sketch.doubled(data, "x", name="doubled"), "twice", name="mean")


def test_before_the_first_run_only_the_first_keys_are_known(sketch: Sketch, store: Store, numbers: Path) -> None:
    chain(sketch)
    found = planned(sketch, store, numbers.parent)
    assert {name: (each.action, each.reason, each.key is None) for name, each in found.items()} == {
        "numbers": ("run", "not done before with these inputs", False),
        "doubled": ("run", "after numbers", True),
        "mean": ("run", "after doubled", True),
    }


def test_after_a_run_everything_is_cached_until_something_changes(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    chain(sketch)
    result = runs(sketch)
    found = planned(sketch, runs.store, numbers.parent)
    assert {each.action for each in found.values()} == {"cached"}
    assert {name: each.key for name, each in found.items()} == {s.name: s.key for s in result.stages.values()}
    changed = type(sketch)()
    data = changed.load("numbers.csv", name="numbers")
    changed.measure(changed.doubled(data, "x", seed=9, name="doubled"), "twice", name="mean")
    assert [each.action for each in planned(changed, runs.store, numbers.parent).values()] == ["cached", "run", "run"]


def test_equal_stages_are_merged(sketch: Sketch, store: Store, numbers: Path) -> None:
    sketch.load("numbers.csv", name="one")
    sketch.load("numbers.csv", name="two")
    found = planned(sketch, store, numbers.parent)
    assert (found["two"].action, found["two"].reason) == ("merged", "the same as one")


def test_a_source_that_is_not_there_is_said(sketch: Sketch, store: Store, tmp_path: Path) -> None:
    sketch.load("nowhere.csv", name="numbers")
    assert "no file is called" in planned(sketch, store, tmp_path)["numbers"].reason


def test_what_is_needed_is_all_that_leads_to_what_is_wanted(sketch: Sketch) -> None:
    chain(sketch)
    sketch.load("other.csv")
    assert needed_stages(sketch.workflow, ["s1"]) == {"s0", "s1"}
    assert needed_stages(sketch.workflow, ["s3"]) == {"s3"}


def test_what_much_work_waits_for_is_urgent(sketch: Sketch) -> None:
    chain(sketch)
    sketch.load("other.csv")
    found = urgencies(sketch.workflow)
    assert found["s0"] > found["s1"] > found["s2"] > found["s3"]
