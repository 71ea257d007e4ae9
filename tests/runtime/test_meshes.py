"""Stages that are shared out over a mesh of devices come to the numbers of one; the processor plays four of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.runtime.checkpoints import STEPS_VARIABLE, partial_folder
from etude.runtime.compiling import compile_text
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.store import Store
from etude.runtime.store.injection import STEP_VARIABLE

FOUR = {"data": 2, "model": 2}
CLOSE = {"rtol": 1e-4, "atol": 1e-6}

# rows that meet in the loss, statistics of batches, a slow copy; players of two data sets; parts, validation, a state
RECIPE = """
digits = load("sklearn:digits") |> split(train = 40%, other = 40%, valid = 20%)
net    = flatten >> linear(8) >> batch_norm() >> relu >> linear(4, seed = 1)
judge  = linear(1, seed = 2)

contrast = train(on = digits.train, update = {net: net}, batch = 32, budget = 6steps, ema = {slow: slow(net, 0.8)}) {
  loss = ({image}, {net, slow}) => info_nce(net(image + 0.1 * normal(image.shape)), slow(image))
}
both = train(on = {a: digits.train, b: digits.other}) {
  updates = [
    step(update = [judge]) {
      loss = ({a, b}) => mean(softplus(judge(net(a.image)))) + mean(softplus(-judge(net(b.image))))
    },
    step(update = [net], loss = ({a, b}) => mean(square(judge(net(a.image)) - judge(net(b.image)))), every = 2)
  ]
  batch  = 16
  budget = 6steps
}
plain  = flatten >> linear(16) >> relu >> (x => dropout(x, 0.2)) >> linear(10, seed = 3)
parted = train(on = digits.train, update = {plain: plain}) {
  loss       = ({image, label}) => cross_entropy(plain(image), label)
  valid      = digits.valid
  score      = ({image, label}) => argmax(plain(image)) == label
  keep       = best
  batch      = 32
  accumulate = 2
  budget     = 2epochs
}
carried = train(on = digits.train, update = {plain: plain}) {
  loss = ({image}, {center, plain}) => {
    y = plain(image)
    return {loss: mean(square(y - center - 1)), state: {center: 0.5 * center + 0.5 * mean(y, axis = 0)}}
  }
  state  = {center: zeros([10])}
  batch  = 30
  budget = 6steps
}
right = measure(digits.valid, ({image, label}) => argmax(parted.plain(image)) == label)
report { right = right   slow = plot(contrast.history)   both = plot(both.history)   carried = plot(carried.history) }
"""


def performed(text: str, store: Store, **settings: Any) -> RunResult:
    compilation = compile_text(text, "test.etude", Path())
    assert compilation.workflow is not None, compilation.diagnostics
    result = run(compilation.workflow, store=store, backend="jax", base=Path(), jobs=1, **settings)
    assert not result.failed, [stage.failure for stage in result.stages.values()]
    return result


def histories(result: RunResult, store: Store) -> dict[str, list[dict[str, float]]]:
    trainings = [stage for stage in result.stages.values() if stage.kind == "train"]
    return {stage.name: store.read_json(stage.outputs["history"]) for stage in trainings}


def test_every_kind_of_training_comes_to_the_same_numbers_on_a_mesh(tmp_path: Path) -> None:
    one, many = Store(tmp_path / "one"), Store(tmp_path / "many")
    alone, shared = performed(RECIPE, one), performed(RECIPE, many, mesh=FOUR)
    expected, found = histories(alone, one), histories(shared, many)

    assert found.keys() == expected.keys() and len(found) == 4
    for name, rows in expected.items():
        for row, other in zip(rows, found[name], strict=True):
            assert row.keys() == other.keys()
            np.testing.assert_allclose([*other.values()], [*row.values()], **CLOSE, err_msg=name)
    trainings = [stage for stage in shared.stages.values() if stage.kind == "train"]
    assert all(stage.made["backend"]["mesh"] == FOUR for stage in trainings)
    assert {stage.key for stage in trainings} == {each.key for each in alone.stages.values() if each.kind == "train"}


KILLED = """
irises = load("sklearn:iris") |> split(train = 60%, valid = 20%, test = 20%, stratify = "label")
net    = mlp([8]) >> linear(4) >> linear(3)
tuned  = finetune(net, on = irises.train, valid = irises.valid, budget = 24steps, batch = 16, keep = best)
"""


def test_a_training_that_was_killed_on_a_mesh_goes_on_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, store = Store(tmp_path / "whole"), Store(tmp_path / "store")
    (expected,) = histories(performed(KILLED, whole), whole).values()
    monkeypatch.setenv(STEPS_VARIABLE, "4")
    workflow = compile_text(KILLED, "test.etude", Path()).workflow
    assert workflow is not None
    for mesh, step in ((FOUR, 6), ({"model": 2}, 14)):
        monkeypatch.setenv(STEP_VARIABLE, f"kill:{step}")
        assert run(workflow, store=store, backend="jax", base=Path(), jobs=1, mesh=mesh).failed
    monkeypatch.delenv(STEP_VARIABLE)

    ended = performed(KILLED, store, mesh={"data": 4})

    (stage,) = (stage for stage in ended.stages.values() if stage.kind == "train")
    assert stage.made["continued"] == [4, 12]
    assert not partial_folder(store, str(stage.key)).exists()
    (found,) = histories(ended, store).values()
    for row, other in zip(expected, found, strict=True):
        np.testing.assert_allclose([*other.values()], [*row.values()], **CLOSE)


def test_a_stage_may_have_a_mesh_of_its_own_and_what_cannot_be_shared_out_is_told(tmp_path: Path) -> None:
    text = (
        KILLED.replace("batch = 16, keep = best", "batch = 15")
        + "more = finetune(tuned, on = irises.train, budget = 2steps)"
    )
    workflow = compile_text(text, "test.etude", Path()).workflow
    assert workflow is not None
    tuned, more = (stage.id for stage in workflow.stages.values() if stage.kind == "train")
    warnings: list[str] = []

    def hear(event: Any) -> None:
        warnings.extend([event.data["message"]] if event.kind == "stage-warning" else [])

    store, by_stage = Store(tmp_path), {tuned: {"mesh": {"data": 2}}}
    result = run(workflow, store=store, backend="jax", base=Path(), jobs=1, by_stage=by_stage, on_event=hear)

    assert warnings == ["a batch has 15 rows, no multiple of 2: every device along `data` computes all of them"]
    assert result.stages[tuned].made["backend"]["mesh"] == {"data": 2, "model": 1}
    assert "mesh" not in result.stages[more].made["backend"]
