"""Every training of every example, taken out of Etude: a short script, and the losses of the run where Etude is not.

`make full` runs all the scripts; here the scripts are read, and one is run.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest

from etude.backends.eject import About
from etude.backends.eject.script import eject_train
from etude.compiler.workflow import Ref, Stage, Workflow
from etude.runtime.compiling import compile_file
from etude.runtime.eject import write_ejected
from etude.runtime.processors import available_cores
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.smoke import capped
from etude.runtime.store import Store

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("*.etude"))
STEPS = 20
LINES = 400  # a script has fewer
SEEDS = re.compile(r"^(?:SEED|KEY) = .*$|^\"\"\"Train .*$", re.MULTILINE)


@dataclass(frozen=True)
class Bare:
    """An interpreter that has the frameworks and no Etude, and where JAX keeps what it compiles."""

    python: Path
    compiled: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {"PYTHON": str(self.python), "JAX_COMPILATION_CACHE_DIR": str(self.compiled)}
        environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        return subprocess.run(arguments, env=environment, cwd=self.compiled, capture_output=True, text=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """A fresh environment: all packages that are installed here but Etude, whichever way that is installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    for entry in Path(numpy.__file__).parents[1].iterdir():
        if "etude" not in entry.name and not entry.name.endswith(".pth"):
            (packages / entry.name).symlink_to(entry)
    bare = Bare(folder / "venv" / "bin" / "python", folder / "compiled")
    bare.compiled.mkdir()
    assert "No module named 'etude'" in bare.run(bare.python, "-c", "import etude").stderr
    assert bare.run(bare.python, "-c", "import jax, numpy, optax, torch").returncode == 0
    return bare


def workflow_of(example: Path) -> Workflow:
    workflow = compile_file(example).workflow
    assert workflow is not None
    return workflow


def trainings(workflow: Workflow) -> list[Stage]:
    return [stage for stage in workflow.stages.values() if stage.kind == "train"]


def distinct(workflow: Workflow, backend: str) -> Iterator[tuple[Stage, str]]:
    """Trainings and their scripts, one of those that differ in nothing but names and seeds."""
    seen = set()
    for stage in trainings(workflow):
        source = eject_train(stage.spec, backend, About(stage=stage.name, recipe="recipe.etude")).source
        kind = SEEDS.sub("", source)
        if kind not in seen:
            seen.add(kind)
            yield stage, source


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_scripts_of_all_trainings_are_short_clean_and_know_no_etude(backend: str, tmp_path: Path) -> None:
    for example in EXAMPLES:
        for number, (stage, source) in enumerate(distinct(workflow_of(example), backend)):
            assert len(source.splitlines()) < LINES, stage.name
            assert not re.search(r"^\s*(?:import|from) etude", source, re.MULTILINE)
            (tmp_path / f"{example.stem}_{number}.py").write_text(source)
    assert len(list(tmp_path.iterdir())) >= len(EXAMPLES) - 1
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        arguments = [sys.executable, "-m", "ruff", *command, "--config", ROOT / "pyproject.toml", tmp_path]
        done = subprocess.run(arguments, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def difference(bare: Bare, stage: Stage, made: RunResult, folder: Path) -> float:
    """Run the script of a stage where there is no Etude; the largest difference of its history from the run's."""
    settings = made.settings
    about = About(stage=stage.name, recipe="recipe.etude", threads=settings.threads)
    write_ejected(folder, eject_train(stage.spec, settings.backend, about), stage, made)
    done = bare.run(folder / "run.sh")
    assert done.returncode == 0, f"{stage.name}: {done.stderr}"
    found = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    history = made.value(Ref(stage.id, "history"))
    assert len(found) == len(history) > 0
    differences = [0.0]
    for row, expected in zip(found, history, strict=True):
        assert {name for name, value in row.items() if value} == expected.keys()
        differences += [abs(float(row[name]) - value) for name, value in expected.items()]
    return float(numpy.max(differences))


def finished(workflow: Workflow, backend: str, base: Path, store: Path) -> RunResult:
    made = run(workflow, store=Store(store), backend=backend, base=base, jobs=available_cores())
    assert not made.failed
    return made


def test_a_script_of_an_example_comes_to_the_same_losses_where_there_is_no_etude(bare: Bare, tmp_path: Path) -> None:
    workflow = capped(workflow_of(ROOT / "examples" / "gan.etude"), STEPS)
    made = finished(workflow, "torch", tmp_path, tmp_path / "store")
    (stage,) = trainings(workflow)
    assert difference(bare, stage, made, tmp_path / "gan") <= 1e-6


@pytest.mark.full
@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_scripts_of_all_trainings_come_to_the_same_losses(
    bare: Bare, example: Path, backend: str, tmp_path: Path
) -> None:
    workflow = workflow_of(example)
    made = finished(workflow, backend, example.parent, tmp_path / "store")
    stages = [stage for stage in trainings(workflow) if made.stages[stage.id].action != "skipped"]
    with ThreadPoolExecutor(available_cores()) as pool:
        found = pool.map(lambda stage: difference(bare, stage, made, tmp_path / stage.id), stages)
    differences = {stage.name: value for stage, value in zip(stages, found, strict=True)}
    assert {name: value for name, value in differences.items() if not value <= 1e-6} == {}
