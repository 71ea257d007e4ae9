"""The table of what the recipes came to speaks of the recipes as they are, and the table of claims of all papers."""

from __future__ import annotations

import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from etude.runtime.compiling import compile_file

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPES = {path.relative_to(EXAMPLES).with_suffix("").as_posix(): path for path in sorted(EXAMPLES.rglob("*.etude"))}


@cache
def script() -> ModuleType:
    """`examples/verdicts.py`, as a module."""
    spec = importlib.util.spec_from_file_location("verdicts", EXAMPLES / "verdicts.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def figures() -> Any:
    return json.loads((EXAMPLES / "verdicts.json").read_text())


@pytest.mark.parametrize("name", RECIPES)
def test_the_figures_are_of_the_claims_that_a_recipe_makes(name: str) -> None:
    workflow = compile_file(RECIPES[name]).workflow
    assert workflow is not None
    for backend in ("torch", "jax"):
        assert [claim["text"] for claim in figures()[name][backend]["claims"]] == [c.text for c in workflow.claims]


def test_the_table_is_what_the_script_makes_of_the_figures() -> None:
    assert figures().keys() == RECIPES.keys()
    assert (EXAMPLES / "verdicts.md").read_text() == script().table(figures())


def test_every_paper_has_its_claim_margin_and_seeds_written_down() -> None:
    lines = (EXAMPLES / "papers" / "README.md").read_text().splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| `")]
    assert sorted(row[0].strip(" `") for row in rows) == sorted(path.stem for path in EXAMPLES.glob("papers/*.etude"))
    assert len(rows) >= 10 and len({row[1].strip() for row in rows}) >= 10
    assert sum(row[2].strip() == "L" for row in rows) >= 2
    assert all(re.match(r"[1-9]", row[5].strip()) for row in rows)
