"""Draws in functions of elements: each element has its own, the same on both backends and at no other step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend
from etude.backends.parity import compare_train
from etude.compiler.workflow import Workflow

from .conftest import Columns, spec_of

RECIPE = """
net = linear(4) >> tanh >> linear(1)
t = train(on = points, update = {net: net}) {
  loss = row => {
    x     = stacked(row)
    error = mean(square(net(x)[:, 0] - row.y))
    return {error: error, TERMS}
  }
  batch  = 8
  budget = 4steps
}
"""


@pytest.mark.parametrize(
    "terms",
    [
        "noisy: mean(each(x, u => mean(square(net((u + 0.1 * normal([3]))[newaxis])))))",
        "nested: mean(each(x, u => mean(each(u, v => v * uniform([])))))",
        "carried: scan(x, from = 0.0, (s, u) => {next: s + mean(u) * uniform([]), out: uniform([2])}).last",
        "mixed: mean(each(x, u => loop (v = u, i in 1..3) { return v + 0.1 * normal([3]) }))",
        "slope: mean(each(x, u => sum(grad(sum(square(dropped(u) * u)), wrt = u))))",
    ],
)
def test_elements_draw_the_same_on_both_backends(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any, terms: str
) -> None:
    recipe = "fn dropped(u) = where(uniform(u.shape) > 0.5, u, 0.0)\n" + RECIPE.replace("TERMS", terms)
    spec = spec_of(compiled(recipe), "train")
    found = compare_train([backends["torch"], backends["jax"]], spec, table, ids, None, {}, steps=4)

    assert found["loss_difference"] <= 1e-5 and found["agrees"]


def test_every_element_and_every_step_has_draws_of_its_own(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any, tmp_path: Any
) -> None:
    terms = """
      low: min(each(x, u => uniform([]))), high: max(each(x, u => uniform([]))),
      gap: min(abs(each(x, u => uniform([])) - uniform([]))),
      first: scan(x, from = 0.0, (s, u) => {next: s, out: uniform([])}).outs[0],
      second: scan(x, from = 0.0, (s, u) => {next: s, out: uniform([])}).outs[1]
    """
    spec = spec_of(compiled(RECIPE.replace("TERMS", " ".join(terms.split()))), "train")
    seen = []
    for name in ("torch", "jax"):
        folder = tmp_path / name
        folder.mkdir()
        result = backends[name].train(
            spec, table, ids, None, {}, folder, emit=lambda event: None, stop=lambda: False, record="step"
        )
        seen.append([(row["low"], row["high"], row["first"], row["second"]) for row in result.history])
        for row in result.history:
            assert row["low"] < row["high"] and row["gap"] > 0 and row["first"] != row["second"]
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-6)
    assert len({values for row in seen[0] for values in row}) == 4 * len(seen[0])


OUTSIDE = {
    "each": "each(PAIR, s => sum(x * grad(s * value, wrt = x)) / s)",
    "scan": "scan(PAIR, from = 0.0, (s, u) => {next: s, out: sum(x * grad(u * value, wrt = x)) / u}).outs",
    "loop": "loop (s = zeros([2]), i in 1..2) { return s + sum(x * grad(value, wrt = x)) / 2 }",
    "branch": "choose(int(value > 0), [v => sum(v * grad(value, wrt = x)), v => sum(v * grad(value, wrt = x))])(x)",
    "two levels": "each(PAIR, s => loop (t = 0.0, i in 1..2) { return t + sum(x * grad(value, wrt = x)) / 2 })",
    "weights": "each(PAIR, s => sum(weights(m) * grad(s * value, wrt = weights(m))) / s)",
    "mixed": "each(PAIR, s => { y = value + s * sum(m(x))  return value + sum(x * grad(y, wrt = x)) - y })",
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_derivative_inside_of_a_function_sees_draws_that_stand_outside(
    compiled: Callable[[str], Workflow],
    backends: Mapping[str, Backend],
    table: Columns,
    ids: Any,
    tmp_path: Any,
    name: str,
) -> None:
    recipe = """
    fn dropped(u) = where(uniform(u.shape) > 0.5, u, 0.0)
    model shaken()(x) { w = weight([3], init = ones)  return dropped(x * w) * normal(x.shape) }
    m   = shaken()
    net = linear(1)
    t = train(on = points, update = {net: net, m: m}) {
      loss = row => {
        x     = stacked(row)
        value = sum(m(x) * normal(x.shape))
        found = FOUND
        return {task: mean(square(net(x)[:, 0] - row.y)), gap: max(abs(found - value)), size: 0.001 * abs(value)}
      }
      batch  = 8
      budget = 3steps
    }
    """
    spec = spec_of(compiled(recipe.replace("FOUND", OUTSIDE[name].replace("PAIR", "tensor([1.0, 2.0])"))), "train")
    sizes = []
    for backend in ("torch", "jax"):
        folder = tmp_path / backend
        folder.mkdir()
        result = backends[backend].train(
            spec, table, ids, None, {}, folder, emit=lambda event: None, stop=lambda: False, record="step"
        )
        # the value is homogeneous in what it is derived by: Euler's theorem gives it back, if the draws are the same
        assert all(row["gap"] < 1e-4 for row in result.history)
        sizes.append([row["size"] for row in result.history])
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=1e-4)
    assert len(set(sizes[0])) == 3 and min(sizes[0]) > 0
