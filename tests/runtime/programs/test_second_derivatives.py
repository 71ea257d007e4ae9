"""`hessian`: against numbers, across backends, of rows and of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend
from etude.backends.parity import compare_train
from etude.compiler.workflow import Workflow

from .conftest import Columns, Mapped, spec_of


def test_the_hessian_has_all_second_derivatives(mapped: Mapped, table: Columns) -> None:
    found = mapped(
        """row => {
          x = stacked(row)
          m = stack([x[0:2], x[1:3]])
          cubes  = hessian(sum(x ** 3) + x[0] * x[1], wrt = x)
          matrix = hessian(sum(m @ m) / 2, wrt = m)
          flat   = hessian(sum(3 * x), wrt = x)
          number = hessian(sin(row.a), wrt = row.a)
          along  = hvp(sum(x ** 3), wrt = x, v = x)
          return {cubes, matrix, flat, number, along}
        }"""
    )
    x = np.stack([table[name] for name in "abc"], axis=-1)
    cubes = 6 * x[:, :, None] * np.eye(3)
    cubes[:, 0, 1] += 1
    cubes[:, 1, 0] += 1
    pairs = np.zeros((2, 2, 2, 2))
    for i in range(2):
        for j in range(2):
            for k in range(2):
                pairs[i, j, j, k] += 0.5  # the sum of m @ m over i, k holds m[i, j] * m[j, k]
                pairs[j, k, i, j] += 0.5

    assert set(found) == {"torch", "jax"}
    for columns in found.values():
        np.testing.assert_allclose(columns["cubes"], cubes, atol=1e-4)
        np.testing.assert_allclose(columns["matrix"], np.broadcast_to(pairs, columns["matrix"].shape), atol=1e-5)
        np.testing.assert_array_equal(columns["flat"], 0)
        np.testing.assert_allclose(columns["number"], -np.sin(table["a"]), atol=1e-5)
        np.testing.assert_allclose(columns["along"], 6 * x * x, atol=1e-4)


def test_a_hessian_is_learned_through(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any
) -> None:
    recipe = """
    net = linear(4) >> tanh >> linear(1)
    t = train(on = points, update = {net: net}) {
      loss = row => {
        x    = stacked(row)
        bend = each(x, u => hessian(sum(net(u[newaxis])), wrt = u))
        return mean(square(net(x)[:, 0] - row.y)) + 0.1 * mean(square(bend))
      }
      batch  = 6
      budget = 3steps
    }
    """
    spec = spec_of(compiled(recipe), "train")
    found = compare_train([backends["torch"], backends["jax"]], spec, table, ids, None, {}, steps=3)

    assert found["loss_difference"] <= 1e-5 and found["agrees"]


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("hessian(stacked(row), wrt = row.a)", "E310"),
        ("hessian(row.a * row.b, wrt = row.c)", "E409"),
        ("hessian(row.a * row.b, wrt = [row.a, row.b])", "E301"),
    ],
)
def test_what_has_no_hessian_is_refused(codes: Callable[[str], list[str]], expression: str, code: str) -> None:
    assert codes(f"z = map(points, row => {{r: {expression}}})") == [code]
