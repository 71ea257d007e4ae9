"""Trial runs of a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etude.compiler.keys import stage_key
from etude.compiler.workflow import Stage, Workflow
from etude.runtime.compiling import compile_text
from etude.runtime.smoke import as_asked, capped

Json = Any
RECIPE = """
irises = load("sklearn:iris") |> split(train = 80%, test = 20%)
tuned = finetune(mlp([8]) >> linear(3), on = irises.train, budget = {budget})
expect accuracy(tuned, on = irises.test) > 50%
"""


def compiled(budget: str) -> Workflow:
    compilation = compile_text(RECIPE.format(budget=budget), "test.etude", Path())
    assert compilation.workflow is not None, compilation.diagnostics
    return compilation.workflow


def train_of(workflow: Workflow) -> Stage:
    (stage,) = (stage for stage in workflow.stages.values() if stage.kind == "train")
    return stage


@pytest.mark.parametrize(
    ("budget", "expected"), [("40epochs", 20), ("500steps", 20), ("7steps", 7), ("9000examples", 20)]
)
def test_a_budget_is_cut_to_steps(budget: str, expected: int) -> None:
    assert train_of(capped(compiled(budget), 20)).spec["budget"] == {"steps": expected}


def test_nothing_else_changes_and_the_workflow_stays_as_it_was() -> None:
    workflow = compiled("40epochs")
    cut = capped(workflow, 20)
    assert train_of(workflow).spec["budget"] == {"epochs": 40}
    assert [stage for stage in cut.stages.values() if stage.kind != "train"] == [
        stage for stage in workflow.stages.values() if stage.kind != "train"
    ]
    assert (cut.claims, cut.models, list(cut.stages)) == (workflow.claims, workflow.models, list(workflow.stages))


def test_a_trial_is_never_taken_for_the_real_thing() -> None:
    workflow = compiled("40epochs")
    keys = {stage_key(train_of(each), ["aa"], "torch", "float32") for each in (workflow, capped(workflow, 20))}
    assert len(keys) == 2


def test_the_environment_asks_for_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = compiled("40epochs")
    monkeypatch.delenv("ETUDE_SMOKE_STEPS", raising=False)
    assert as_asked(workflow) is workflow
    monkeypatch.setenv("ETUDE_SMOKE_STEPS", "3")
    assert train_of(as_asked(workflow)).spec["budget"] == {"steps": 3}
