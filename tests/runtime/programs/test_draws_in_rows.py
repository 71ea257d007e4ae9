"""Draws inside of functions of rows: for each element, in models that draw so, and in what derivatives are taken of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend
from etude.compiler.workflow import Workflow

from .conftest import Columns, spec_of

Rows = Callable[[str], tuple[Columns, Columns]]
PRELUDE = """
model each_row()(x) { return each(x, u => u + normal(u.shape)) }
model each_step()(x) {
  steps = transpose(x)
  return transpose(each(steps, u => u + normal(u.shape)))
}
model carried()(x) {
  run = scan(transpose(x), from = x[:, 0] * 0, (s, u) => {next: s + uniform(u.shape), out: u * s})
  return stack([run.last, run.outs[0], run.outs[2]], axis = -1)
}
model steep()(x) {
  y = sum(shaken()(x))
  return loop (s = 0 * x, i in 1..2) { return s + grad(y, wrt = x) / 2 }
}
model shaken()(x) { return dropped(x) * normal(x.shape) }
fn dropped(x) = where(uniform(x.shape) > 0.5, x, 0.0)
"""


@pytest.fixture
def rows(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any
) -> Callable[[str], tuple[Columns, Columns]]:
    """What a function of rows gives on PyTorch; checked against JAX, and against itself on some of the rows."""

    def run(body: str) -> tuple[Columns, Columns]:
        spec = spec_of(compiled(PRELUDE + f"z = map(points, row => {{ x = stacked(row)  {body} }})"), "map")
        found = backends["torch"].rows(spec, table, ids, {})
        other = backends["jax"].rows(spec, table, ids, {})
        part = backends["torch"].rows(spec, {name: c[7:12] for name, c in table.items()}, ids[7:12], {})
        for name, column in found.items():
            np.testing.assert_allclose(column, other[name], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(column[7:12], part[name], rtol=1e-5, atol=1e-6)
        return found, other

    return run


def distinct(column: np.ndarray) -> int:
    return len(np.unique(np.round(column, 6)))


@pytest.mark.parametrize(
    "draw",
    [
        "each(x, u => u + 0 * x[0] + normal([]))",
        "each({v: x, w: tensor([1.0, 2.0, 3.0])}, ({v, w}) => v * 0 + w * uniform([]))",
        "each(tensor([1.0, 2.0, 3.0]), u => u + uniform([]))",
        "reshape(each(stack([x, x]), u => each(u, v => v * uniform([]))), [6])",
        "scan(x, from = 0.0, (s, u) => {next: s + uniform([]), out: s + normal([])}).outs",
        "scan(x, from = x, (s, u) => {next: s * uniform(s.shape), out: u}).last",
        "each(x, u => loop (v = u, i in 1..3) { return v + normal([]) })",
        "loop (v = x, i in 1..2) { return each(v, u => u + normal([])) }",
        "choose(int(row.y > 0), [v => each(v, u => u + normal([])), v => v + uniform([3])])(x)",
    ],
)
def test_each_element_of_each_row_has_draws_of_its_own(rows: Rows, draw: str) -> None:
    found, _ = rows(f"return {{z: {draw}}}")

    assert distinct(found["z"]) == found["z"].size


@pytest.mark.parametrize("model", ["each_row", "each_step", "carried", "steep"])
def test_a_model_that_draws_for_elements_draws_for_each_row(rows: Rows, model: str) -> None:
    found, _ = rows(f"net = {model}()  return {{z: net(x) - 0 * x, again: net(x)}}")

    assert distinct(found["z"]) >= found["z"].size // 3
    assert np.abs(found["z"] - found["again"]).max() > 0


def test_a_derivative_sees_the_draws_of_the_value(rows: Rows) -> None:
    found, _ = rows(
        """
        a = x * normal(x.shape)
        y = sum(each(x, u => u * normal([])))
        z = sum(shaken()(x))
        w = scan(x, from = 1.0, (s, u) => {next: s * u * normal([]), out: u}).last
        v = loop (h = x, i in 1..2) { return shaken()(h) * h }
        return {
          y, ty: sum(x * grad(y, wrt = x)), z, tz: sum(x * grad(z, wrt = x)), w, tw: sum(x * grad(w, wrt = x)) / 3,
          v: sum(v), tv: sum(x * grad(sum(v), wrt = x)) / 4,
          c: sum(a * x), tc: sum(x * grad(sum(a * x), wrt = x)) / 2
        }
        """
    )

    for name in "yzwvc":  # each is homogeneous in x, so that Euler's theorem gives it back if the draws agree
        np.testing.assert_allclose(found[f"t{name}"], found[name], rtol=1e-3, atol=1e-4)
        assert distinct(found[name]) > 12


def test_a_derivative_inside_of_a_function_sees_draws_that_stand_outside(rows: Rows) -> None:
    found, _ = rows(
        """
        y = sum(shaken()(x) * each(x, u => normal([])))
        return {
          y, a: loop (s = 0.0, i in 1..2) { return s + sum(x * grad(y, wrt = x)) / 2 },
          b: mean(each(tensor([1.0, 2.0]), u => loop (s = 0.0, i in 1..2) {
            return s + sum(x * grad(u * y, wrt = x)) / u / 2
          })),
          c: choose(int(row.a > 0), [() => sum(x * grad(y, wrt = x)), () => 2 * sum(x * grad(y / 2, wrt = x))])(),
          d: scan(x, from = 0.0, (s, u) => {z = y + sum(shaken()(x))
            return {next: s + (y + sum(x * grad(z, wrt = x)) - z) / 3, out: u}}).last
        }
        """
    )

    for name in "abcd":
        np.testing.assert_allclose(found[name], found["y"], rtol=1e-3, atol=1e-3)


def test_second_derivatives_see_the_draws_of_the_value(rows: Rows) -> None:
    found, _ = rows(
        """
        y = sum(shaken()(x) ** 3 * normal([3]))
        slope = grad(y, wrt = x)
        return {y, again: sum(x * grad(sum(x * slope), wrt = x)) / 9, h: sum(x * (hessian(y, wrt = x) @ x)) / 6}
        """
    )

    np.testing.assert_allclose(found["again"], found["y"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found["h"], found["y"], rtol=1e-3, atol=1e-4)


def test_a_derivative_by_weights_sees_the_draws_of_the_value(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any
) -> None:
    recipe = """
    model noisy()(x) { w = weight([3, 2])  return (x @ w) * each(x, u => normal([2])) }
    net = noisy()
    z = map(points, row => {
      y = sum(net(stacked(row)))
      return {y, t: sum(weights(net) * grad(y, wrt = weights(net)))}
    })
    """
    spec = spec_of(compiled(recipe), "map")
    for name in ("torch", "jax"):
        found = backends[name].rows(spec, table, ids, {})
        np.testing.assert_allclose(found["t"], found["y"], rtol=1e-4, atol=1e-5)
        assert distinct(found["y"]) == len(found["y"])
