"""The library as a whole: each function stands in a small recipe that runs; torch and jax agree on what it learns."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from etude.compiler.checks.names import names_in
from etude.compiler.definitions import definitions
from etude.compiler.modules import FOLDER
from etude.grammar.parser import parse

HERE = Path(__file__).parent
RECIPES = sorted(HERE.glob("*.etude"))
MODULES = ("models", "losses", "train", "metrics", "ssl", "vision", "graph")
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


@pytest.mark.parametrize("recipe", [path for path in RECIPES if path.stem != "training"], ids=lambda path: path.stem)
def test_torch_and_jax_agree_on_the_first_losses(recipe: Path, tmp_path: Path) -> None:
    done = etude("parity", recipe, "--steps", "2", "--store", tmp_path, "--jobs", "1", "--json")
    found = json.loads(done.stdout)
    assert [stage for stage in found["stages"] if not stage["agrees"]] == []
    assert len(found["stages"]) == recipe.read_text().count("method = method") * 8 + 1


def test_the_recipe_of_stages_and_metrics_runs(tmp_path: Path) -> None:
    done = etude("run", HERE / "training.etude", "--store", tmp_path, "--json")
    run = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert run["failed"] == 0
    assert sum(stage["kind"] == "train" for stage in run["stages"]) == 10
