"""Brackets follow numpy: steps, also backwards, and lists of positions, in functions and on measured tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from etude.runtime.compiling import compile_text
from etude.runtime.runner import run
from etude.runtime.store import Store

X = np.arange(30, dtype=np.float32).reshape(5, 6) ** 1.5
PICKS = [
    "x[::2]",
    "x[::-1]",
    "x[4:0:-2]",
    "x[::-1, 1::3]",
    "x[..., ::-2]",
    "x[-1:-4:-1, newaxis, 5:1:-3]",
    "x[[0, 2]]",
    "x[[-1, 0, 0]]",
    "x[:, [1, 4]]",
    "x[::2, [5, -6, 2]]",
    "x[..., [3]]",
]


def of_numpy(pick: str) -> np.ndarray:
    found: np.ndarray = eval(pick, {"x": X, "newaxis": np.newaxis})
    return found


def weighted(values: np.ndarray) -> float:
    return float((values.ravel() * np.arange(1, values.size + 1)).sum())


def recipe() -> str:
    rows = ", ".join(f"{{x: {X.tolist()}, y: {i}}}" for i in range(2))
    lines = [f"d = rows([{rows}])", "first = collect(d, ({x}) => x)[0]"]
    for i, pick in enumerate(PICKS):
        size = of_numpy(pick).size
        each = f"reshape({pick}, [{size}]) * (1 + iota({size}))"
        lines.append(f"row_{i} = measure(on = d, ({{x}}) => sum({each}))")
        lines.append(f"late_{i} = sum({each.replace('x[', 'first[', 1)})")
    return "\n".join(lines)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_what_brackets_pick_is_what_numpy_picks(backend: str, tmp_path: Path) -> None:
    compiled = compile_text(recipe(), "picks.etude", tmp_path)
    assert compiled.workflow is not None, [d.message for d in compiled.diagnostics]
    result = run(compiled.workflow, store=Store(tmp_path / "store"), backend=backend, base=tmp_path, jobs=1)
    assert not result.failed, [stage.failure for stage in result.stages.values() if stage.failure]
    for i, pick in enumerate(PICKS):
        expected = weighted(of_numpy(pick))
        assert result.metrics[f"row_{i}"] == pytest.approx(expected, rel=1e-5), pick
        assert result.metrics[f"late_{i}"] == pytest.approx(expected, rel=1e-5), pick


def test_lists_and_chains_step_as_in_python(tmp_path: Path) -> None:
    text = """
    xs = [0, 1, 2, 3, 4]
    expect xs[::2] == [0, 2, 4]
    expect xs[::-1] == [4, 3, 2, 1, 0]
    expect xs[3:0:-2] == [3, 1]
    net = flatten >> relu >> tanh
    expect len(net[::2]) == 2
    """
    compiled = compile_text(text, "steps.etude", tmp_path)
    assert compiled.workflow is not None
    found = [compiled.workflow.stages[claim.stage].spec["expression"] for claim in compiled.workflow.claims]
    assert found == [["number", True]] * 4


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_weights_are_picked_and_laid_end_to_end_outside_of_functions(backend: str, tmp_path: Path) -> None:
    text = """
    d = rows([{x: [1.0, 2.0], y: 1.0}, {x: [2.0, 3.0], y: 2.0}])
    m = train(on = d, update = {net: linear(3)}) { loss = ({x, y}, {net}) => mse(net(x)[:, 0], y)  budget = 2steps }
    flat  = ravel(weights(m.net))
    count = flat.shape[0]
    gap   = norm(flat) - norm(weights(m.net))
    entry = weights(m.net)["w"][1, 2] - weights(m.net).w[-1, ::-1][0]
    alike = flat @ flat / norm(flat) ** 2
    report { count = count }
    """
    compiled = compile_text(text, "weights.etude", tmp_path)
    assert compiled.workflow is not None, [d.message for d in compiled.diagnostics]
    result = run(compiled.workflow, store=Store(tmp_path / "store"), backend=backend, base=tmp_path, jobs=1)
    assert not result.failed, [stage.failure for stage in result.stages.values() if stage.failure]
    assert result.metrics["gap"] == pytest.approx(0, abs=1e-6) and result.metrics["entry"] == 0
    assert result.metrics["alike"] == pytest.approx(1, abs=1e-5)
