"""Which weights move in a training and which stay bit by bit, on both frameworks, as `check --show weights` says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Array, TrainResult
from etude.backends.inputs import initial_weights
from etude.compiler.ownership import players_of
from etude.compiler.pipeline import Compilation
from etude.compiler.workflow import Ref, Stage
from etude.runtime.compiling import compile_text
from etude.runtime.stages import Job, Settings, execute, train
from etude.runtime.store import Store

RECIPES = sorted((Path(__file__).parents[1] / "compiler" / "weights").glob("*.etude"))
Trained = dict[str, tuple[Stage, list[Array], list[Array]]]


class Here:
    """Runs a small recipe in this process, and remembers all weights of each training before and after it."""

    def __init__(self, folder: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.settings = folder, Settings(backend=backend)
        self.store = Store(folder / "store")
        self.trained: Trained = {}
        self.outputs: dict[Ref, str] = {}
        self._train = train.run_training
        monkeypatch.setattr(train, "run_training", self._training)

    def run(self, compilation: Compilation) -> Trained:
        workflow = compilation.workflow
        assert workflow is not None, [d.message for d in compilation.diagnostics]
        for stage in workflow.stages.values():
            self.stage = stage
            inputs = [self.outputs[ref] for ref in stage.inputs]
            folder = self.folder / stage.id
            folder.mkdir()
            job = Job(
                store=self.store, kind=stage.kind, spec=stage.spec, inputs=inputs, settings=self.settings,
                base=self.folder, folder=folder,
            )  # fmt: skip
            result = execute(job)
            self.outputs |= {Ref(stage.id, port): hash for port, hash in result.outputs.items()}
        return self.trained

    def _training(self, job: Job, spec: Mapping[str, Any], *rest: Any, **named: Any) -> TrainResult:
        weights = {index: job.weights(index) for index in train.weights_inputs(spec)}
        before = [np.array(weight) for weight in initial_weights(spec["slots"], weights)]
        result = self._train(job, spec, *rest, **named)
        self.trained[self.stage.name] = (self.stage, before, result.weights)
        return result


def states(compilation: Compilation, stage: Stage) -> list[str]:
    """What becomes of each slot in a whole training: it learns if any player moves it."""
    assert compilation.recipe is not None and compilation.workflow is not None
    players = players_of(compilation.recipe.session, compilation.workflow, stage)
    assert len(players) == len(stage.spec["steps"])
    learning = {slot for step in stage.spec["steps"] for slot in step["update"]}
    following = {slot for slot, *_ in stage.spec.get("ema", ())}
    total = sum(row.tensors for row in players[0].weights)
    assert total == len(stage.spec["slots"])
    told = {player.name: sum(r.tensors for r in player.weights if r.state == "learns") for player in players}
    assert told == {step["name"]: len(step["update"]) for step in stage.spec["steps"]}
    slots = range(len(stage.spec["slots"]))
    return ["learns" if i in learning else "follows" if i in following else "frozen" for i in slots]


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_what_learns_moves_and_the_rest_stays(
    recipe: Path, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compilation = compile_text(recipe.read_text(), recipe.name, tmp_path)
    trained = Here(tmp_path, backend, monkeypatch).run(compilation)

    assert trained
    for stage, before, after in trained.values():
        for index, state in enumerate(states(compilation, stage)):
            path = f"{stage.name}: {stage.spec['slots'][index]['path']}"
            is_same = np.array_equal(before[index], after[index])
            assert is_same == (state == "frozen"), f"{path} {state}, but {'stayed' if is_same else 'moved'}"


LOSSES = """
digits = load("sklearn:digits") |> sample(60examples)
maker  = linear(64)
critic = linear(1, seed = 1)
t = train(on = digits, update = {maker: maker, critic: critic}) {
  loss = ({image}) => {
    fake = maker(flatten(image)[:, 0:4])
    told = critic(stop(fake))
    return {tell: mean(softplus(told)), fool: mean(softplus(-FROZEN(critic)(fake)))}
  }
  optimizer = sgd(lr = 0.1)
  batch     = 60
  budget    = 3steps
}
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_frozen_use_has_the_current_weights_and_no_gradient(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A term whose gradient by the critic is taken out by hand moves it as one where the critic is frozen."""
    by_hand = LOSSES.replace("FROZEN(critic)", "critic.with(stop(weights(critic)))")
    texts = {"frozen": LOSSES.replace("FROZEN", "frozen"), "by hand": by_hand}
    found = {}
    for name, text in texts.items():
        folder = tmp_path / name
        folder.mkdir()
        compilation = compile_text(text, "test.etude", folder)
        (found[name],) = (after for _, _, after in Here(folder, backend, monkeypatch).run(compilation).values())
    for one, other in zip(found["frozen"], found["by hand"], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
