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
