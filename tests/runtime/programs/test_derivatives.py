"""`grad` in losses, models and functions of rows, and trees of weights: against numbers, and across backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from etude.backends.base import Backend
from etude.backends.batches import Stream
from etude.backends.inputs import initial_weights
from etude.backends.parity import compare_train
from etude.compiler.keys import uses_backend
from etude.compiler.workflow import Workflow

ROWS = 24
Columns = dict[str, np.ndarray]


def ids() -> Any:
    return np.arange(ROWS, dtype=np.uint64) * np.uint64(2**40 + 1)


def spec_of(workflow: Workflow, kind: str) -> dict[str, Any]:
    return dict(next(stage.spec for stage in workflow.stages.values() if stage.kind == kind))


def mapped(backend: Backend, workflow: Workflow, table: Columns, weights: Mapping[int, Any] | None = None) -> Columns:
    return backend.rows(spec_of(workflow, "map"), table, ids(), weights or {})


# --- functions of rows ---


def test_a_derivative_by_an_input_is_that_of_each_row(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns
) -> None:
    workflow = compiled(
        "z = map(points, ({a, b}) => {d: grad(sin(a) * b, wrt = a), e: grad(a ** 3 * b, wrt = {a, b}).b})"
    )
    found = mapped(backend, workflow, table)

    np.testing.assert_allclose(found["d"], np.cos(table["a"]) * table["b"], atol=1e-5)
    np.testing.assert_allclose(found["e"], table["a"] ** 3, atol=1e-5)
    assert uses_backend(next(stage for stage in workflow.stages.values() if stage.kind == "map"))


def test_derivatives_nest(backend: Backend, compiled: Callable[[str], Workflow], table: Columns) -> None:
    workflow = compiled(
        """
        z = map(points, ({a, b}) => {
          first  = grad(exp(2 * a) * b, wrt = a)
          second = grad(first, wrt = a)
          return {second, third: grad(second * b, wrt = a), mixed: grad(first, wrt = b)}
        })
        """
    )
    found = mapped(backend, workflow, table)
    a, b = table["a"].astype(np.float64), table["b"].astype(np.float64)

    np.testing.assert_allclose(found["second"], 4 * np.exp(2 * a) * b, rtol=1e-4)
    np.testing.assert_allclose(found["third"], 8 * np.exp(2 * a) * b**2, rtol=1e-4)
    np.testing.assert_allclose(found["mixed"], 2 * np.exp(2 * a), rtol=1e-4)


def test_hvp_is_the_product_of_the_hessian_and_a_vector(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns
) -> None:
    workflow = compiled(
        """
        z = map(points, row => {
          x = stacked(row)
          value = sum(x ** 3) + x[0] * x[1] * x[2]
          return {h: hvp(value, wrt = x, v = 2 * ones([3]))}
        })
        """
    )
    a, b, c = (table[name].astype(np.float64) for name in "abc")
    expected = np.stack([6 * a + b + c, 6 * b + a + c, 6 * c + a + b], axis=-1) * 2

    np.testing.assert_allclose(mapped(backend, workflow, table)["h"], expected, atol=1e-4)


NET = "net = linear(4) >> tanh >> linear(2)\n"


def network(values: list[np.ndarray]) -> list[torch.Tensor]:
    return [torch.tensor(value, requires_grad=True) for value in values]


def forward(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    w, b, v, c = weights
    return torch.tanh(x @ w + b) @ v + c


def test_gradients_by_the_weights_are_those_of_each_row(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns
) -> None:
    workflow = compiled(
        NET
        + """
        z = map(points, row => {
          slopes = grad(gap(net, row), wrt = weights(net))
          return {total: sum(square(slopes)), length: norm(slopes), most: max(slopes), shifted: sum(2 * slopes - 1)}
        })
        """
    )
    spec = spec_of(workflow, "map")
    weights = network(initial_weights(spec["slots"], {}))
    found = mapped(backend, workflow, table)

    for i in range(ROWS):
        x = torch.tensor(np.stack([table[name][i] for name in "abc"]))
        loss = (forward(weights, x)[0] - float(table["y"][i])) ** 2
        slopes = [slope.numpy() for slope in torch.autograd.grad(loss, weights)]
        total = sum(float((slope**2).sum()) for slope in slopes)
        assert found["total"][i] == pytest.approx(total, rel=1e-4)
        assert found["length"][i] == pytest.approx(total**0.5, rel=1e-4)
        assert found["most"][i] == pytest.approx(max(float(slope.max()) for slope in slopes), rel=1e-4, abs=1e-6)
        shifted = sum(float((2 * slope - 1).sum()) for slope in slopes)
        assert found["shifted"][i] == pytest.approx(shifted, rel=1e-4)


# --- losses ---

PENALTY = """
net = linear(4) >> tanh >> linear(1)
t = train(on = points, update = {net: net}) {
  loss = row => {
    x     = stacked(row)
    slope = grad(sum(net(x)), wrt = x)
    task  = mean(square(net(x)[..., 0] - row.y))
    return {task: task, penalty: 0.5 * mean(square(slope)), size: 0.1 * norm(grad(task, wrt = weights(net)))}
  }
  optimizer = sgd(lr = 0.1)
  batch     = 8
  budget    = 6steps
}
"""


def test_a_loss_learns_through_derivatives(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns, tmp_path: Path
) -> None:
    spec = spec_of(compiled(PENALTY), "train")
    result = backend.train(spec, table, ids(), None, {}, tmp_path, emit=lambda e: None, stop=lambda: False)
    weights = network(initial_weights(spec["slots"], {}))
    optimizer, stream = torch.optim.SGD(weights, lr=0.1), Stream(ids(), 8, spec["seed"])
    for step in range(6):
        index = stream.indices(step)
        x = torch.tensor(np.stack([table[name][index] for name in "abc"], axis=-1), requires_grad=True)
        task = ((forward(weights, x)[:, 0] - torch.tensor(table["y"][index])) ** 2).mean()
        (slope,) = torch.autograd.grad(forward(weights, x).sum(), x, create_graph=True)
        slopes = torch.autograd.grad(task, weights, create_graph=True)
        size = torch.sqrt(sum((s**2).sum() for s in slopes))  # type: ignore[arg-type]
        loss = task + 0.5 * (slope**2).mean() + 0.1 * size
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for found, expected in zip(result.weights, weights, strict=True):
        np.testing.assert_allclose(found, expected.detach(), atol=1e-5)


def test_noise_and_dropout_inside_a_derivative_are_those_of_the_value(
    both: list[Backend], compiled: Callable[[str], Workflow], table: Columns
) -> None:
    recipe = """
    model noisy()(x) { return dropout(tanh(linear(4)(x)), 0.5) }
    net = noisy() >> linear(1)
    t = train(on = points, update = {net: net}) {
      loss = row => {
        x     = stacked(row) + 0.1 * normal(stacked(row).shape)
        value = sum(net(x) * x[:, 0:1])
        slope = grad(value, wrt = x)
        return {task: mean(square(net(x))), slope: mean(square(slope))}
      }
      batch  = 8
      budget = 6steps
    }
    """
    spec = spec_of(compiled(recipe), "train")
    found = compare_train(both, spec, table, ids(), None, {}, steps=6)

    assert found["loss_difference"] <= 1e-5
    assert found["agrees"]


def test_the_derivative_of_a_draw_sees_the_same_draw(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns, tmp_path: Path
) -> None:
    recipe = """
    model scale()(x) { s = weight([3], init = ones)  return dropout(x * s, 0.5) }
    net = scale()
    t = train(on = points, update = {net: net}) {
      loss = row => {
        value = sum(net(stacked(row)))
        # linear in the weights: the weights times the derivative by them give the value back, if the draws agree
        return square(sum(weights(net) * grad(value, wrt = weights(net))) - value)
      }
      budget = 3steps
    }
    """
    spec = spec_of(compiled(recipe), "train")
    result = backend.train(
        spec, table, ids(), None, {}, tmp_path, emit=lambda e: None, stop=lambda: False, record="step"
    )

    assert all(row["loss"] < 1e-6 for row in result.history)


def test_batch_norm_is_differentiated_and_moves_once(
    both: list[Backend], compiled: Callable[[str], Workflow], table: Columns
) -> None:
    recipe = """
    net = linear(4) >> batch_norm(rate = 0.5) >> tanh >> linear(1)
    t = train(on = points, update = {net: net}) {
      loss = row => {
        x = stacked(row)
        y = net(x)
        return mean(square(y)) + mean(square(grad(sum(y), wrt = x))) + sum(square(grad(mean(y), wrt = weights(net))))
      }
      batch  = 8
      budget = 4steps
    }
    """
    spec = spec_of(compiled(recipe), "train")
    found = compare_train(both, spec, table, ids(), None, {}, steps=4)

    assert found["loss_difference"] <= 1e-4
    assert found["agrees"]
    assert sum(op[0] == "update" for sub in spec["steps"][0]["loss"]["subs"] for op in sub["ops"]) == 2


def test_a_model_may_be_the_slope_of_another(
    both: list[Backend], compiled: Callable[[str], Workflow], table: Columns
) -> None:
    recipe = """
    model force()(x) {
      energy = sum(square(linear(1)(tanh(linear(4)(x)))))
      return -grad(energy, wrt = x)
    }
    net = force()
    t = train(on = points, update = {net: net}) {
      loss   = row => mean(square(net(stacked(row))[:, 0] - row.y))
      batch  = 8
      budget = 6steps
    }
    z = map(points, row => {z: t.net(stacked(row))})
    """
    workflow = compiled(recipe)
    found = compare_train(both, spec_of(workflow, "train"), table, ids(), None, {}, steps=6)
    rows = spec_of(workflow, "map")
    drawn = initial_weights(spec_of(workflow, "train")["slots"], {})
    weights = {slot["source"]["input"]: drawn for slot in rows["slots"]}
    first, second = (backend.rows(rows, table, ids(), weights)["z"] for backend in both)

    assert found["loss_difference"] <= 1e-5 and found["agrees"]
    np.testing.assert_allclose(first, second, atol=1e-5)


# --- trees ---


def test_the_start_of_a_model_and_trees_from_outside_stay_as_they_are(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns, tmp_path: Path
) -> None:
    recipe = """
    net = linear(1)
    first = train(on = points, update = {net: net}, loss = row => gap(net, row), budget = 1steps)
    before = weights(first.net)
    t = train(on = points, update = {net: net}) {
      loss = row => {
        pull = sum(square(weights(net) - weights(start(net))))
        return {task: gap(net, row), pull: 0.1 * pull, same: sum(square(weights(start(net)) - weights(start(net)))),
                far: sum(square(weights(net) - 2 * before)) - sum(square(before - before))}
      }
      batch  = 8
      budget = 4steps
    }
    """
    workflow = compiled(recipe)
    spec = next(dict(s.spec) for s in workflow.stages.values() if s.kind == "train" and s.name == "t")
    sources = [slot["source"] for slot in spec["slots"]]
    stored = [np.full(slot["shape"], 0.5, np.float32) for slot in spec["slots"] if "input" in slot["source"]]
    (place,) = {source["input"] for source in sources if "input" in source}
    result = backend.train(
        spec, table, ids(), None, {place: stored}, tmp_path, emit=lambda e: None, stop=lambda: False, record="step"
    )
    start = initial_weights(spec["slots"], {place: stored})
    learns = spec["steps"][0]["update"]
    far = sum(float(((start[i] - 1.0) ** 2).sum()) for i in learns)

    assert len(learns) == 2 and len(spec["slots"]) == 6
    assert result.history[0]["far"] == pytest.approx(far, rel=1e-5)
    assert result.history[0]["pull"] == pytest.approx(0.0, abs=1e-9) and result.history[-1]["pull"] > 0
    for slot, weight in enumerate(result.weights):
        assert (slot in learns) == bool(np.abs(weight - start[slot]).max() > 0)


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("grad(sum(net(x)), wrt = row.y)", "E409"),
        ("grad(net(x), wrt = x)", "E310"),
        ("grad(sum(net(x)), wrt = 3)", "E301"),
        ("sum(weights(net) - weights(other))", "E302"),
        ("weights(net) @ weights(net)", "E301"),
        ("weights(linear(7))", "E314"),
        ("weights(x)", "E301"),
        ("sum(net.with(weights(net))(x))", None),
        ("sum(weights(descend(net, m => sum(m(x)))))", None),
        ("sum(each(x, u => u * normal([])))", None),
        ("sum(normal([]) * each(x, u => 2 * u))", None),
        ("scan(x, from = 0.0, (s, u) => s + u)", "E301"),
        ("scan(x, from = 0.0, (s, u) => {next: x, out: u}).last", "E301"),
        ("scan(x, from = 0.0, (s, u) => {next: s + normal([]), out: u}).last", None),
        ("sum(each(row.a, u => u))", "E314"),
        ("sum(each(3, u => u))", "E301"),
        ("each(x, u => net)", "E301"),
        ("sum(weights(net.with(weights(other))))", "E302"),
    ],
)
def test_what_has_no_derivative_or_does_not_fit_is_refused(
    codes: Callable[[str], list[str]], expression: str, code: str | None
) -> None:
    text = (
        NET
        + "other = linear(3)\n"
        + f"z = map(points, row => {{ x = stacked(row)  u = net(x)  v = other(x)  return {{r: {expression}}} }})"
    )
    assert codes(text) == ([code] if code else [])
