"""Compile small recipes, and look at what became of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from etude.compiler.workflow import Stage, Workflow
from etude.runtime.compiling import compile_text

PRELUDE = 'digits = load("sklearn:digits") |> split(train = 80%, test = 20%, stratify = "label")\n'
Compile = Callable[..., Workflow]


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compile a recipe that must have no errors; `digits` is a split data set."""

    def compile_it(text: str, *, prelude: str = PRELUDE, **settings: object) -> Workflow:
        result = compile_text(prelude + text, "test.etude", tmp_path, **settings)  # type: ignore[arg-type]
        assert not result.has_errors, [d.message for d in result.diagnostics]
        assert result.workflow is not None
        return result.workflow

    return compile_it


@pytest.fixture
def stage_named(compiled: Compile) -> Callable[[str, str], Stage]:
    """The stage of a name in a recipe."""

    def find(text: str, name: str) -> Stage:
        (stage,) = (s for s in compiled(text).stages.values() if s.name == name)
        return stage

    return find
