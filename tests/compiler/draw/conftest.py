"""Workflows built by hand, in the names that the compiler gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from etude.compiler.workflow import Claim, Ref, Stage, Workflow

DIGITS = "Dataset[{image: float32[8, 8, 1], label: label(10)}]"


@dataclass
class Sketch:
    """Collects stages; `add` gives the id of a new one."""

    workflow: Workflow = field(default_factory=lambda: Workflow("recipes/sketch.etude"))

    def add(
        self,
        kind: str,
        name: str,
        inputs: list[tuple[str, str]],
        outputs: Mapping[str, str],
        group: tuple[str, ...] = (),
        label: str = "",
    ) -> str:
        id = f"s{len(self.workflow.stages) + 1}"
        refs = tuple(Ref(*each) for each in inputs)
        self.workflow.stages[id] = Stage(id, name, kind, {}, refs, outputs, group, label, len(self.workflow.stages) + 1)
        return id


@pytest.fixture
def sweep() -> Workflow:
    """Digits, split; two trainings under three seeds, each measured; a claim and a report."""
    sketch = Sketch()
    add = sketch.add
    load = add("load", "digits", [], {"data": DIGITS}, label="sklearn:digits")
    split = add("split", "digits.split", [(load, "data")], {"train": DIGITS, "test": DIGITS}, label="80% / 20%")
    scores: dict[str, list[tuple[str, str]]] = {"teacher": [], "student": []}
    for seed in (1, 2, 3):
        group, at = (f"trials.[seed={seed}]",), f"trials[seed={seed}]"
        trained = {"0": "Model", "history": "History"}
        teacher = add("train", f"{at}.teacher", [(split, "train")], trained, group, "net · 40 epochs")
        student = add("train", f"{at}.student", [(split, "train"), (teacher, "0")], trained, group, "net · 20 epochs")
        for name, model in (("teacher", teacher), ("student", student)):
            inputs = [(split, "test"), (model, "0")]
            measured = add(
                "measure", f"scores[t={seed - 1}].{name}", inputs, {"value": "Metric"}, (f"scores.[t={seed - 1}]",)
            )
            scores[name].append((measured, "value"))
    claim = add("claim", "expect", [*scores["student"], *scores["teacher"]], {"verdict": "Claim"})
    table = add("table", "report.accuracy", [*scores["teacher"], *scores["student"]], {"table": "Table"})
    workflow = sketch.workflow
    workflow.claims = [Claim(claim, 9, "mean(scores.student) >= mean(scores.teacher) - 2%", "small is enough")]
    workflow.report = [("accuracy", Ref(table, "table"))]
    return workflow


@pytest.fixture
def rounds() -> Workflow:
    """Self-training in four rounds, each from the model of the one before."""
    sketch = Sketch()
    add = sketch.add
    data = add("load", "data", [], {"data": "Dataset"})
    model = add("train", "base", [(data, "data")], {"0": "Model"})
    for turn in range(1, 5):
        group, at = (f"final.[round={turn}]",), f"final[round={turn}]"
        labelled = add("map", f"{at}.pseudo", [(data, "data"), (model, "0")], {"data": "Dataset"}, group)
        model = add("train", f"{at}.model", [(labelled, "data"), (model, "0")], {"0": "Model"}, group)
    add("measure", "score", [(data, "data"), (model, "0")], {"value": "Metric"})
    return sketch.workflow


@pytest.fixture
def chain() -> Callable[[int], Workflow]:
    """A line of so many stages."""

    def make(length: int) -> Workflow:
        sketch = Sketch()
        last = sketch.add("load", "x0", [], {"data": "Dataset"})
        for number in range(1, length):
            last = sketch.add("map", f"x{number}", [(last, "data")], {"data": "Dataset"})
        return sketch.workflow

    return make
