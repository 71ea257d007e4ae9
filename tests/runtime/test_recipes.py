"""Whole recipes, compiled and run on a framework: small enough to take seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from etude.compiler.workflow import Workflow
from etude.runtime.compiling import compile_text
from etude.runtime.parity import check_parity
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.store import Store

RECIPE = """
irises = load("sklearn:iris") |> split(train = 60%, valid = 20%, test = 20%, stratify = "label")
net = mlp([8]) >> linear(3)
tuned = finetune(net, on = irises.train, valid = irises.valid, optimizer = adamw(lr = 3e-2), budget = 9epochs)
again = finetune(tuned, on = irises.train, valid = irises.valid, optimizer = adamw(lr = 3e-2), budget = 5epochs)
expect accuracy(again, on = irises.test) > 50% because "it has seen something"
report { accuracy = accuracy(again, on = irises.test)   curves = plot(tuned.history) }
"""
RENAMED = """
# The same, with other names, comments, and in another order.
report { curves = plot(first.history)   accuracy = accuracy(second, on = flowers.test) }
expect accuracy(second, on = flowers.test) > 50%
second = finetune(first, on = flowers.train, valid = flowers.valid, optimizer = adamw(lr = 3e-2), budget = 5epochs) # !
first = finetune(model_, on = flowers.train, valid = flowers.valid, optimizer = adamw(lr = 3e-2), budget = 9epochs)
model_ = mlp([8]) >> linear(3)
flowers = load("sklearn:iris") |> split(train = 60%, valid = 20%, test = 20%, stratify = "label")
"""


def compiled(text: str) -> Workflow:
    compilation = compile_text(text, "test.etude", Path())
    assert compilation.workflow is not None, compilation.diagnostics
    return compilation.workflow


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("shared") / "store")


def performed(text: str, store: Store, backend: str = "torch", **settings: Any) -> RunResult:
    return run(compiled(text), store=store, backend=backend, base=Path(), jobs=1, **settings)


@pytest.fixture(scope="module")
def first(shared: Store) -> RunResult:
    return performed(RECIPE, shared)


def named(result: RunResult, name: str) -> Any:
    return next(stage for stage in result.stages.values() if stage.name == name)


def test_a_recipe_is_trained_measured_and_judged(first: RunResult) -> None:
    assert {stage.action for stage in first.stages.values()} == {"run"}
    assert first.claims[0].verdict == "holds"
    trained = named(first, "tuned")
    history = first.store.read_json(trained.outputs["history"])
    assert history[-1]["epoch"] >= 9 and {"loss", "valid.loss", "valid.accuracy"} <= set(history[-1])
    assert trained.made["backend"]["backend"] == "torch"
    assert "class" in (first.folder / "source" / "tuned.py").read_text()
    assert not (first.folder / "stages").exists()


def test_models_are_exported_under_the_paths_of_the_recipe(first: RunResult) -> None:
    weights = load_file(first.models["tuned"]["path"])
    assert sorted(weight.shape for weight in weights.values()) == [(3,), (4, 8), (8,), (8, 3)]
    assert all(np.isfinite(weight).all() for weight in weights.values())
    assert not np.array_equal(*(next(iter(load_file(first.models[n]["path"]).values())) for n in ("tuned", "again")))


def test_renaming_reordering_and_comments_rerun_nothing(first: RunResult, shared: Store) -> None:
    result = performed(RENAMED, shared)
    assert result.counts()["executed"] == 0
    assert result.claims[0].verdict == "holds"


def test_a_changed_budget_reruns_its_stage_and_what_depends_on_it(first: RunResult, shared: Store) -> None:
    result = performed(RECIPE.replace("5epochs", "4epochs"), shared)
    actions = {stage.name: stage.action for stage in result.stages.values()}
    assert actions["tuned"] == "cached" and actions["again"] == "run"


def test_the_other_backend_has_keys_of_its_own_but_shares_the_data(first: RunResult, shared: Store) -> None:
    result = performed(RECIPE, shared, "jax")
    actions = {stage.kind: stage.action for stage in result.stages.values()}
    assert (actions["load"], actions["split"], actions["train"]) == ("cached", "cached", "run")


def test_a_loss_that_is_no_number_fails_its_stage_and_keeps_the_last_good_weights(
    first: RunResult, shared: Store
) -> None:
    text = RECIPE.replace(
        "again = finetune(tuned,",
        """
        wild = finetune(net, on = irises.train, loss = (m, x, y) => cross_entropy(m(x), y) / 0.0, budget = 3epochs)
        lost = accuracy(wild, on = irises.test)
        expect lost > 50%
        again = finetune(tuned,""",
    )
    result = performed(text, shared)
    (failed,) = result.failed
    assert failed.name == "wild" and failed.failure is not None
    assert "at step 1" in failed.failure["message"]
    assert len(load_file(failed.failure["checkpoint"])) == 4
    assert [claim.verdict for claim in result.claims] == ["cannot tell", "holds"]


def test_the_backends_agree_stage_by_stage(first: RunResult, shared: Store) -> None:
    result = check_parity(compiled(RECIPE), store=shared, base=Path(), jobs=1)
    assert result.run.counts()["executed"] == 0
    assert [stage.kind for stage in result.stages] == ["train", "train", "measure"]
    assert result.agrees, result.to_json()
    fields = result.to_json()["stages"][0]
    assert fields["loss_difference"] <= fields["tolerance"] and fields["weights_difference"] < 1e-3


CLASSES = """
irises = load("sklearn:iris") |> split(train = 60%, test = 40%, stratify = "label")
tuned = finetune(mlp([8]) >> linear(3), on = irises.train, optimizer = adamw(lr = 3e-2), budget = 9epochs)
report {
  right   = accuracy(tuned, on = irises.test)
  matrix  = confusion(tuned, on = irises.test)
  classes = per_class(tuned, on = irises.test)
}
"""


def test_a_confusion_matrix_a_table_of_classes_and_the_accuracy_agree(shared: Store) -> None:
    result = performed(CLASSES, shared)
    right, matrix, classes = (result.value(ref) for _, ref in result.workflow.report)
    values = np.array(matrix["values"])
    assert values.sum(axis=1).tolist() == [row[1] for row in classes["rows"]] == [20, 20, 20]
    assert np.trace(values) / values.sum() == pytest.approx(right)
    assert classes["columns"] == ["class", "rows", "precision", "recall", "f1"]
    assert [row[3] for row in classes["rows"]] == pytest.approx((np.diagonal(values) / 20).tolist())
    assert matrix["rows"] == [row[0] for row in classes["rows"]] == ["setosa", "versicolor", "virginica"]
