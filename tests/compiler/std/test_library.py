"""The library as a whole: each function stands in a small recipe that runs; torch and jax agree on what it learns."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from etude.compiler.checks.names import names_in
from etude.compiler.definitions import definitions
from etude.compiler.modules import FOLDER
from etude.grammar.parser import parse
from etude.runtime.store import Store

HERE = Path(__file__).parent
RECIPES = sorted(HERE.glob("*.etude"))
MODULES = ("models", "losses", "train", "metrics", "ssl", "vision", "graph", "text")
COMPARED = {"models": 2, "networks": 2, "methods": 9, "text": 1}
"""How many trainings a recipe has whose first losses are compared. The others have tests that run them to the end."""
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""What is compiled runs twice: it is not worth the time that making it fast takes."""


def etude(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "etude", *map(str, arguments)]
    environment = {**os.environ, "XLA_FLAGS": QUICK}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def used_in(text: str) -> set[str]:
    return names_in(tuple(parse(text).statements))


def test_every_function_of_the_library_stands_in_a_recipe_here() -> None:
    """Named by a recipe, or inside a function that is."""
    used = set().union(*(used_in(recipe.read_text()) for recipe in RECIPES))
    bodies, named = {}, {}
    for module in MODULES:
        text = (FOLDER / f"{module}.etude").read_text()
        for each in definitions(text):
            named[each.name] = module
            bodies[each.name] = used_in(text[each.start : each.end])
    seen, waiting = set(), [name for name in named if name in used]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [inner for inner in bodies[name] if inner in named]
    assert {name: module for name, module in named.items() if name not in seen} == {}


def test_every_function_says_what_it_does() -> None:
    silent = []
    for module in MODULES:
        for statement in parse((FOLDER / f"{module}.etude").read_text()).statements:
            doc = getattr(statement, "doc", None) or ""
            if not re.search(r"[.)]$", doc) or len(doc) < 30:
                silent.append(f"{module}.{statement.name}")  # type: ignore[union-attr]
    assert silent == []


def test_the_recipes_check_without_warnings() -> None:
    done = etude("check", *RECIPES, "--format", "json")
    assert json.loads(done.stdout)["diagnostics"] == []


@pytest.mark.parametrize("recipe", COMPARED)
def test_torch_and_jax_agree_on_the_first_losses(recipe: str, tmp_path: Path) -> None:
    done = etude("parity", HERE / f"{recipe}.etude", "--steps", "2", "--store", tmp_path, "--jobs", "1", "--json")
    found = json.loads(done.stdout)
    assert [stage for stage in found["stages"] if not stage["agrees"]] == []
    assert len(found["stages"]) == COMPARED[recipe]


def test_the_recipe_of_stages_and_metrics_runs(tmp_path: Path) -> None:
    done = etude("run", HERE / "training.etude", "--store", tmp_path, "--json")
    run = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert run["failed"] == 0
    assert sum(stage["kind"] == "train" for stage in run["stages"]) == 10


def test_a_language_model_writes_the_same_on_both_backends(tmp_path: Path) -> None:
    written = {}
    for backend in ("torch", "jax"):
        store = tmp_path / backend
        done = etude("run", HERE / "writing.etude", "--store", store, "--backend", backend, "--json")
        assert done.returncode == 0, done.stderr
        run = json.loads(done.stdout)
        stages = {stage["name"]: stage for stage in run["stages"] if stage["kind"] == "texts"}
        tables = {name: object_of(store, stage["outputs"]["table"])["rows"] for name, stage in stages.items()}
        written[backend] = {name.removeprefix("report."): rows for name, rows in tables.items()}
        assert 20 < run["metrics"]["hard"] < 250
    assert written["torch"] == written["jax"]
    found = written["torch"]
    assert [len(found[name]) for name in ("drawn", "likely", "free")] == [3, 2, 2]
    assert all(text.startswith("def ") for (text, *_) in found["drawn"] + found["likely"])
    assert found["drawn"][0] != found["drawn"][1] and found["likely"][0] == found["likely"][1]
    assert all(text.startswith("import ") for text, _ in found["longer"])


def object_of(store: Path, hash: str) -> Any:
    return Store(store).objects.read_json(hash)
