"""Models with other weights in functions of rows: the same ones for all rows, or some of each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from etude.backends.base import Backend
from etude.backends.inputs import initial_weights
from etude.compiler.workflow import Workflow

from .conftest import Columns, spec_of

NET = """
net = flat >> linear(4) >> tanh >> linear(2)
fn flat(x) = reshape(x, [x.shape[0], 3])
fn value(m, x) = sum(m(x) * m(2 * x))
"""
Rows = Callable[[str], dict[str, Columns]]


@pytest.fixture
def rows(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any
) -> Callable[[str], tuple[list[np.ndarray], Columns, Columns]]:
    """The fresh weights of the model, and what a function of rows gives on both backends."""

    def run(body: str) -> tuple[list[np.ndarray], Columns, Columns]:
        text = NET + f"z = map(points, row => {{ x = stacked(row)  seen = net(x)  {body} }})"
        spec = spec_of(compiled(text), "map")
        torch_found, jax_found = (backends[name].rows(spec, table, ids, {}) for name in ("torch", "jax"))
        return initial_weights(spec["slots"], {}), torch_found, jax_found

    return run


def called(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    w, b, v, c = weights
    return torch.tanh(x @ w + b) @ v + c


def points(table: Columns) -> torch.Tensor:
    return torch.tensor(np.stack([table[name] for name in "abc"], axis=-1))


def agree(first: Columns, second: Columns) -> None:
    for name, column in first.items():
        np.testing.assert_allclose(column, second[name], rtol=1e-4, atol=1e-5)


def test_all_rows_may_have_the_same_other_weights(rows: Any, table: Columns) -> None:
    weights, found, other = rows("return {z: net.with(2 * weights(net))(x), same: net.with(weights(net))(x) - seen}")
    expected = called([2 * torch.tensor(w) for w in weights], points(table))

    np.testing.assert_allclose(found["z"], expected, atol=1e-4)
    np.testing.assert_allclose(found["same"], 0, atol=1e-6)
    agree(found, other)


def test_each_row_may_have_weights_of_its_own(rows: Any, table: Columns) -> None:
    weights, found, other = rows("return {z: net.with(row.y * weights(net))(x)}")
    y, x = torch.tensor(table["y"]), points(table)
    expected = torch.stack([called([y[i] * torch.tensor(w) for w in weights], x[i]) for i in range(len(y))])

    np.testing.assert_allclose(found["z"], expected, atol=1e-4)
    agree(found, other)


def test_each_row_may_descend_by_itself(rows: Any, table: Columns) -> None:
    weights, found, other = rows(
        """
        fast = descend(net, m => square(m(x)[0] - row.y), steps = 2, lr = 0.1)
        twice = descend(net, m => value(m, x), steps = 1, lr = 0.1)
        slope = grad(sum(fast(x)), wrt = x)
        return {z: fast(x), slope, far: sum(square(weights(fast) - weights(net))), t: twice(x)}
        """
    )
    x, y = points(table), torch.tensor(table["y"])
    for i in range(len(y)):
        own = [torch.tensor(w, requires_grad=True) for w in weights]
        at = x[i].clone().requires_grad_()
        for _ in range(2):
            loss = (called(own, at)[0] - y[i]) ** 2
            slopes = torch.autograd.grad(loss, own, create_graph=True)
            own = [w - 0.1 * s for w, s in zip(own, slopes, strict=True)]
        z = called(own, at)
        (slope,) = torch.autograd.grad(z.sum(), at)
        far = sum(float(((w.detach() - torch.tensor(old)) ** 2).sum()) for w, old in zip(own, weights, strict=True))
        np.testing.assert_allclose(found["z"][i], z.detach(), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found["slope"][i], slope, rtol=1e-3, atol=1e-4)
        assert found["far"][i] == pytest.approx(far, rel=1e-3)
    agree(found, other)


@pytest.mark.parametrize(
    "body",
    [
        "return {z: sum(each(tensor([0.5, 2.0]), s => sum(net.with(s * weights(net))(x))))}",
        "return {z: sum(each(tensor([0.5, 2.0]), s => sum(net.with(s * row.y * weights(net))(x))))}",
        "return {z: loop (h = x, i in 1..3) { return h + sum(net.with(row.y * weights(net))(h)) }}",
        "return {z: loop (h = x, i in 1..3) { return h + sum(net.with(2 * weights(net))(h)) }}",
        "return {z: loop (s = 0.0, i in 1..2) { f = descend(net, m => value(m, x))  return s + sum(f(x)) }}",
        "return {z: choose(int(row.y > 0), [net.with(2 * weights(net)), net.with(row.y * weights(net))])(x)}",
        "return {z: sum(hessian(sum(net.with(row.y * weights(net))(x)), wrt = x))}",
        "return {z: sum(square(grad(sum(net.with(2 * weights(net))(x)), wrt = weights(net))))}",
    ],
)
def test_other_weights_stand_in_functions_of_rows_on_both_backends(rows: Any, body: str) -> None:
    _, found, other = rows(body)

    assert np.abs(found["z"]).max() > 0
    agree(found, other)


def test_a_model_that_draws_keeps_its_draws_whatever_its_weights_are(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any
) -> None:
    recipe = """
    model noisy()(x) { return linear(3)(x) + normal(x.shape) }
    net = noisy()
    z = map(points, row => {
      x = stacked(row)
      y = net(x)
      own = net.with((1 + 0 * row.y) * weights(net))
      return {plain: y, shared: net.with(1 * weights(net))(x), own: own(x)}
    })
    """
    spec = spec_of(compiled(recipe), "map")
    found = {name: backends[name].rows(spec, table, ids, {}) for name in ("torch", "jax")}
    part = backends["torch"].rows(spec, {n: c[5:9] for n, c in table.items()}, ids[5:9], {})

    agree(found["torch"], found["jax"])
    for name in ("shared", "own"):
        noise = found["torch"][name] - found["torch"]["plain"]
        assert np.abs(noise).max() > 0.1  # another call draws anew
        np.testing.assert_allclose(part[name], found["torch"][name][5:9], atol=1e-6)
        assert len(np.unique(np.round(noise, 5))) == noise.size


BESIDE = """
net   = linear(4) >> tanh >> linear(1)
other = finetune(reseed(net, 5), on = points, loss = (m, row) => gap(m, row), budget = 1steps)
t = train(on = points, update = {net: net}) {
  loss = row => {
    seen = gap(net, row) + gap(start(other), row)
    between = edit(net, at = AT, (w, v) => w + 0.25 * (v - w), beside = other)
    same    = net.with(weights(net) + 0.25 * (weights(other) - weights(net)))
    return {task: gap(between, row), off: abs(gap(between, row) - gap(same, row)), seen}
  }
  batch  = 8
  budget = 3steps
}
z = map(points, row => {
  x = stacked(row)
  return {near: edit(t.net, (w, v) => (w + v) / 2, beside = other)(x)}
})
"""


@pytest.mark.parametrize("glob", ["**", "0.*"])
def test_weights_are_edited_beside_others_in_a_loss(
    compiled: Callable[[str], Workflow], both: list[Backend], table: Columns, ids: Any, tmp_path: Any, glob: str
) -> None:
    workflow = compiled(BESIDE.replace("AT", f'"{glob}"'))
    (spec,) = (dict(stage.spec) for stage in workflow.stages.values() if stage.name == "t")
    stored = [np.full(slot["shape"], 0.3, np.float32) for slot in spec["slots"] if "input" in slot["source"]]
    (place,) = {slot["source"]["input"] for slot in spec["slots"] if "input" in slot["source"]}
    histories = []
    for backend in both:
        folder = tmp_path / str(len(histories))
        folder.mkdir()
        result = backend.train(
            spec, table, ids, None, {place: stored}, folder, emit=lambda e: None, stop=lambda: False, record="step"
        )
        histories.append([(row["task"], row["off"]) for row in result.history])
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-4, atol=1e-6)
    assert all((off < 1e-6) == (glob == "**") for _, off in histories[0])
