"""`etude eject`: scripts that stand alone and come to the losses of the run."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.eject import About, NotEjectableError
from etude.backends.eject.script import eject_train
from etude.backends.weights import load_weights
from etude.compiler.workflow import Ref, Stage, Workflow
from etude.runtime.cli.main import main
from etude.runtime.compiling import compile_file
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.store import Store

Cli = Callable[..., Any]
ROOT = Path(__file__).parents[2]
RECIPE = """use std.ssl
digits = load("sklearn:digits") |> split(train = 20%, valid = 5%, rest = 75%, stratify = "label")
fn thinned(x) = dropout(x, rate = 0.2)
net = flatten >> linear(16) >> relu >> thinned
fn view(image) = image |> random_shift(1px)

pretrained = pretrain(net, on = digits.train) {
  method    = simclr(view, head = mlp([8]), temperature = 0.2)
  batch     = 100
  schedule  = cosine(warmup = 10%)
  budget    = 9steps
}
tuned = finetune(pretrained >> linear(10), on = digits.train, valid = digits.valid, batch = 50, budget = 2.5epochs)

generator     = mlp([8, 64])
discriminator = mlp([8, 1])
game = train(on = digits.train) {
  updates = [
    step(update = [discriminator]) {
      loss = ({image}) => {
        fake = discriminator(stop(generator(normal([image.shape[0], 4]))))
        return mean(softplus(-discriminator(flatten(image)))) + mean(softplus(fake))
      }
    },
    step(update = [generator], every = 2) {
      loss = ({image}) => mean(softplus(-discriminator(generator(normal([image.shape[0], 4])))))
    }
  ]
  valid  = digits.valid
  batch  = 64
  budget = 2epochs
}
encoder = flatten >> mlp([16, 8])
slowly = train(on = digits.train, update = {student: encoder}) {
  loss = ({image}, {student, teacher, center}) => {
    target = stop(teacher(image))
    return {
      loss: mean(square(student(image + 0.1 * normal(image.shape)) - (target - center))),
      state: {center: 0.9 * center + 0.1 * mean(target, axis = 0)}
    }
  }
  ema    = {teacher: slow(encoder, 0.9)}
  state  = {center: ones([8])}
  batch  = 64
  budget = 2epochs
}
clocked = train(on = digits.train, valid = digits.valid, update = {net: flatten >> linear(10)}) {
  loss     = ({image, label}, {net, progress}) => (1 - 0.5 * progress) * cross_entropy(net(image), label)
  schedule = linear_decay(warmup = 3steps)
  keep     = best
  patience = 20steps
  batch    = 64
  budget   = 3epochs
}
sets = {few: digits.valid, many: digits.train}
both = train(on = sets, valid = {few: digits.train, many: digits.valid}, update = {net: flatten >> linear(10)}) {
  loss   = ({few, many}, {net}) => cross_entropy(net(few.image), few.label) + 0.1 * mean(square(net(many.image)))
  score  = ({few, many}, {net}) => argmax(net(few.image)) == few.label
  optimizer  = lamb(lr = 1e-2, weight_decay = 0.01)
  schedule   = one_cycle()
  accumulate = 4
  batch  = 40
  budget = 3epochs
}
hard   = digits.train |> map(({image, label}) => {image, label, hard: float(label) / 10.0, often: float(label % 3)})
sorted = train(on = hard, update = {net: flatten >> linear(10)}) {
  loss    = ({image, label}, {net}) => cross_entropy(net(image), label)
  weights = "often"
  order   = curriculum("hard", start = 40%, until = 80%)
  batch   = 48
  budget  = 15steps
}
drawn = train(on = hard, update = {net: flatten >> linear(10)}) {
  loss    = ({image, label}, {net}) => cross_entropy(net(image), label)
  weights = "often"
  batch   = 48
  budget  = 15steps
}
marked = train(on = hard, valid = digits.valid, update = {net: flatten >> linear(10)}) {
  loss   = ({image, label}, {net}) => cross_entropy(net(image), label)
  keep        = all
  valid_every = 0.75epochs
  batch       = 100
  budget      = 3epochs
}
each = [accuracy(c.net, on = digits.valid) for c in marked.checkpoints]
report { accuracy = accuracy(tuned, on = digits.valid)   curves = plot(game.history) }
"""
TRAININGS = ["pretrained", "tuned", "game", "slowly", "clocked", "both", "sorted", "drawn", "marked"]


@dataclass(frozen=True)
class Finished:
    """A run of the recipe, and the file and the store that it was made with."""

    file: Path
    workflow: Workflow
    result: RunResult

    def stage(self, name: str) -> Stage:
        return next(each for each in self.workflow.stages.values() if each.name == name and each.kind == "train")

    def output(self, name: str, port: str) -> str:
        return self.result.stages[self.stage(name).id].outputs[port]


@pytest.fixture(scope="module", params=["torch", "jax"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp(request.param)
    file = folder / "recipe.etude"
    file.write_text(RECIPE)
    workflow = compile_file(file).workflow
    assert workflow is not None
    store = Store(folder / "store")
    result = run(workflow, store=store, backend=request.param, base=folder, jobs=len(os.sched_getaffinity(0)))
    assert not result.failed
    return Finished(file, workflow, result)


def ejected(finished: Finished, stage: str, folder: Path) -> Path:
    """Write the script of a stage into a folder, as the command does."""
    backend, store = finished.result.settings.backend, finished.result.store.root
    arguments = [finished.file, stage, "--backend", backend, "--store", store, "-o", folder]
    before = sorted((store / "runs").iterdir())
    assert main(["eject", *map(str, arguments)]) == 0
    assert sorted((store / "runs").iterdir()) == before  # nothing was executed, so this is no run
    return folder


def run_without_etude(folder: Path) -> str:
    """Run an ejected training where etude cannot be imported; return what it prints."""
    blocked = folder / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys\n\nsys.modules['etude'] = None\n")
    environment = {**os.environ, "PYTHONPATH": str(blocked), "PYTHON": sys.executable}
    check = subprocess.run([sys.executable, "-c", "import etude.grammar"], env=environment, capture_output=True)
    assert b"ModuleNotFoundError" in check.stderr
    done = subprocess.run([folder / "run.sh"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", TRAININGS)
def test_an_ejected_script_comes_to_the_same_losses_and_weights(finished: Finished, name: str, tmp_path: Path) -> None:
    folder = ejected(finished, name, tmp_path / "out")
    printed = run_without_etude(folder)
    assert printed == (folder / "history.csv").read_text()

    found = list(csv.DictReader(printed.splitlines()))
    history = finished.result.value(Ref(finished.stage(name).id, "history"))
    assert len(found) == len(history)
    assert len(history) > 0
    for row, expected in zip(found, history, strict=True):
        assert {key for key, value in row.items() if value} == expected.keys()
        assert [float(row[key]) for key in expected] == pytest.approx(list(expected.values()), rel=0, abs=1e-6)

    spec, kept = finished.stage(name).spec, np.load(folder / "weights.npz")
    paths = dict(reversed(eject_train(spec, finished.result.settings.backend, About(stage="", recipe="")).slots))
    for port, slots in enumerate(spec["results"]):
        weights = load_weights(finished.result.store.objects.path(finished.output(name, str(port))))
        for slot, weight in zip(slots, weights, strict=True):
            np.testing.assert_allclose(kept[paths[slot]], weight, rtol=0, atol=1e-5)

    if "checkpoints" in spec:
        steps = finished.result.store.read_json(finished.output(name, "checkpoints"))["step"]
        assert sorted(folder.glob("weights_*.npz")) == sorted(folder / f"weights_{step}.npz" for step in steps)
        for number, step in enumerate(steps):
            weights = load_weights(finished.result.store.objects.path(finished.output(name, f"{number}.0")))
            marked = np.load(folder / f"weights_{step}.npz")
            for slot, weight in zip(spec["results"][0], weights, strict=True):
                np.testing.assert_allclose(marked[paths[slot]], weight, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", TRAININGS)
def test_an_ejected_script_is_short_clean_and_knows_no_etude(finished: Finished, name: str, tmp_path: Path) -> None:
    source = eject_train(
        finished.stage(name).spec, finished.result.settings.backend, About(stage=name, recipe="recipe.etude")
    ).source
    assert len(source.splitlines()) < 400
    assert "import etude" not in source
    assert "from etude" not in source
    file = tmp_path / "train.py"
    file.write_text(source)
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        arguments = [sys.executable, "-m", "ruff", *command, "--config", ROOT / "pyproject.toml", file]
        done = subprocess.run(arguments, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_without_a_folder_the_script_is_printed_and_nothing_is_run(cli: Cli, folder: Path) -> None:
    (folder / "recipe.etude").write_text(RECIPE)
    shown = cli("eject", "recipe.etude", "tuned", "--backend", "torch", "--threads", "2")
    assert shown.code == 0
    assert shown.out.startswith('"""Train `tuned` of recipe.etude on PyTorch.\n')
    assert "THREADS = 2" in shown.out
    assert not (folder / ".etude").exists()


def test_a_training_with_a_setting_that_scripts_do_not_know_is_refused(finished: Finished) -> None:
    spec = {**finished.stage("tuned").spec, "later": 3, "unused": None}
    with pytest.raises(NotEjectableError, match="`tuned` has `later`, which scripts do not do yet"):
        eject_train(spec, "torch", About(stage="tuned", recipe="recipe.etude"))


def test_only_trainings_are_ejected(cli: Cli, folder: Path) -> None:
    (folder / "recipe.etude").write_text(RECIPE)
    shown = cli("eject", "recipe.etude", "digits", "--backend", "torch")
    assert shown.code == 2
    assert "only trainings are ejected" in shown.err
    assert ", ".join(TRAININGS[:8]) in shown.err
