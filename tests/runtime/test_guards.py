"""Loops with `while`, as the compiler unrolls them: rounds behind conditions, and a choice after each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from etude.compiler.workflow import Ref
from etude.runtime.planning import plan_stages
from etude.runtime.results import RunResult
from etude.runtime.stages import Job, Settings, execute
from etude.runtime.store import Store

Sketch = Any
Runs = Any


def actions(result: RunResult) -> dict[str, str]:
    return {stage.name: stage.action for stage in result.stages.values()}


def loop(sketch: Sketch, limit: float, rounds: int = 3) -> Ref:
    """Double the column x while its mean is below `limit`; the final mean (x starts at a mean of 2.25)."""
    data = sketch.load("numbers.csv", name="numbers")
    data = sketch.add("drop", {"columns": ["label"]}, data, name="x")("data")
    outer: Ref | None = None
    for i in range(rounds):
        sketch.guards = () if outer is None else (outer,)
        mean = sketch.measure(data, "x", name=f"[{i}].mean")
        goes_on = ["lt", ["input", 0], ["number", limit]]
        if outer is not None:
            goes_on = ["and", ["input", 1], goes_on]
        guard = sketch.compute(goes_on, mean, *([outer] if outer else []), name=f"[{i}].while")
        with sketch.behind(guard):
            doubled = sketch.doubled(data, "x", name=f"[{i}].doubled", result="x")
        sketch.guards = ()
        data = sketch.add("select", {"of": "data"}, guard, doubled, data, name=f"[{i}].select")("data")
        outer = guard
    return sketch.measure(data, "x", name="result")


@pytest.mark.parametrize(("limit", "mean", "done"), [(0.0, 2.25, 0), (4.0, 4.5, 1), (8.0, 9.0, 2), (100.0, 18.0, 3)])
def test_a_loop_ends_when_its_condition_says(
    sketch: Sketch, runs: Runs, numbers: Path, limit: float, mean: float, done: int
) -> None:
    last = loop(sketch, limit)
    result = runs(sketch)
    found = actions(result)
    assert [found[f"[{i}].doubled"] for i in range(3)] == ["run"] * done + ["skipped"] * (3 - done)
    assert result.value(last) == mean and not result.failed


def test_what_was_left_out_says_why_and_is_left_out_again(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    loop(sketch, 4.0)
    first, second = runs(sketch), runs(sketch)
    assert second.counts()["executed"] == 0 and second.counts()["skipped"] == first.counts()["skipped"] > 0
    left_out = next(stage for stage in second.stages.values() if stage.name == "[2].doubled")
    assert (left_out.reason, left_out.failure) == ("its condition does not hold", None)
    plan = {p.stage.name: p.action for p in plan_stages(sketch.workflow, runs.store, TORCH, numbers.parent).values()}
    assert plan["[1].doubled"] == plan["[2].mean"] == "dropped"
    assert plan["[0].doubled"] == plan["result"] == "cached"


TORCH = Settings(backend="torch")


def test_a_choice_between_models_takes_the_weights_of_one_side(store: Store, tmp_path: Path) -> None:
    hashes = [store.objects.put(save({"0": np.float32([n]), "1": np.float32([n, n])})) for n in (1, 2)]

    def slot(input: int, index: int) -> Any:
        return {"shape": [index + 1], "dtype": "float32", "init": {}, "source": {"input": input, "index": index}}

    spec = {"of": "weights", "then": [slot(1, 1), slot(1, 0)], "else": [slot(2, 1), slot(2, 0)]}

    def chosen(condition: bool | None, first: str | None) -> list[list[float]]:
        guard = None if condition is None else store.objects.put_json(condition)
        job = Job(
            store=store,
            kind="select",
            spec=spec,
            inputs=[guard, first, hashes[1]],
            settings=TORCH,
            base=tmp_path,
            folder=tmp_path,
        )
        weights = load(store.objects.read(execute(job).outputs["0"]))
        return [weights[str(i)].tolist() for i in range(2)]

    assert chosen(True, hashes[0]) == [[1, 1], [1]]
    assert chosen(False, None) == [[2, 2], [2]]
    assert chosen(None, None) == [[2, 2], [2]]
