"""A table of numbers, and recipes on it compiled for both frameworks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend, load
from etude.compiler.keys import uses_backend
from etude.compiler.workflow import Workflow
from etude.runtime.compiling import compile_text

ROWS = 24
PRELUDE = """
points = load("points.csv", target = "y")
fn stacked(row) = stack([row.a, row.b, row.c], axis = -1)
fn gap(m, row) = mean(square(m(stacked(row))[..., 0] - row.y))
"""
Columns = dict[str, np.ndarray]
Mapped = Callable[[str], dict[str, Columns]]


@pytest.fixture
def table(tmp_path: Path) -> Columns:
    generator = np.random.default_rng(3)
    columns = {name: generator.normal(size=ROWS).astype(np.float32) for name in "abcy"}
    lines = [",".join(columns), *(",".join(str(v) for v in row) for row in zip(*columns.values(), strict=True))]
    (tmp_path / "points.csv").write_text("\n".join(lines) + "\n")
    return columns


@pytest.fixture
def ids() -> Any:
    return np.arange(ROWS, dtype=np.uint64) * np.uint64(2**40 + 1)


@pytest.fixture
def compiled(tmp_path: Path, table: Columns) -> Callable[[str], Workflow]:
    def compile_it(text: str) -> Workflow:
        result = compile_text(PRELUDE + text, "test.etude", tmp_path)
        assert not result.has_errors, [d.message for d in result.diagnostics]
        assert result.workflow is not None
        return result.workflow

    return compile_it


@pytest.fixture
def codes(tmp_path: Path, table: Columns) -> Callable[[str], list[str]]:
    """The codes of what is wrong with a recipe."""

    def found(text: str) -> list[str]:
        return [d.code for d in compile_text(PRELUDE + text, "test.etude", tmp_path).diagnostics if d.code[0] == "E"]

    return found


@pytest.fixture(scope="session")
def backends() -> dict[str, Backend]:
    return {name: load(name, device="cpu", threads=1) for name in ("numpy", "torch", "jax")}


@pytest.fixture
def both(backends: Mapping[str, Backend]) -> list[Backend]:
    return [backends["torch"], backends["jax"]]


@pytest.fixture(params=["torch", "jax"])
def backend(request: pytest.FixtureRequest, backends: Mapping[str, Backend]) -> Backend:
    return backends[request.param]


@pytest.fixture
def mapped(compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any) -> Mapped:
    """The columns that a function of rows makes, by backend; NumPy is among them where it can run it."""

    def run(function: str) -> dict[str, Columns]:
        workflow = compiled(f"z = map(points, {function})")
        stage = next(stage for stage in workflow.stages.values() if stage.kind == "map")
        names = [name for name in backends if name != "numpy" or not uses_backend(stage)]
        return {name: backends[name].rows(dict(stage.spec), table, ids, {}) for name in names}

    return run


def spec_of(workflow: Workflow, kind: str) -> dict[str, Any]:
    return dict(next(stage.spec for stage in workflow.stages.values() if stage.kind == kind))
