"""`grad` in losses, models and functions of rows, and trees of weights: against numbers, and across backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from etude.backends.base import Backend, load
from etude.backends.batches import Stream
from etude.backends.inputs import initial_weights
from etude.backends.parity import compare_train
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


@pytest.fixture
def table(tmp_path: Path) -> Columns:
    generator = np.random.default_rng(3)
    columns = {name: generator.normal(size=ROWS).astype(np.float32) for name in "abcy"}
    lines = [",".join(columns), *(",".join(str(v) for v in row) for row in zip(*columns.values(), strict=True))]
    (tmp_path / "points.csv").write_text("\n".join(lines) + "\n")
    return columns


@pytest.fixture
def compiled(tmp_path: Path, table: Columns) -> Callable[[str], Workflow]:
    def compile_it(text: str) -> Workflow:
        result = compile_text(PRELUDE + text, "test.etude", tmp_path)
        assert not result.has_errors, [d.message for d in result.diagnostics]
        assert result.workflow is not None
        return result.workflow

    return compile_it


@pytest.fixture(scope="module")
def both() -> list[Backend]:
    return [load(name, device="cpu", threads=1) for name in ("torch", "jax")]


@pytest.fixture(scope="module", params=[0, 1], ids=["torch", "jax"])
def backend(request: pytest.FixtureRequest, both: list[Backend]) -> Backend:
    return both[request.param]


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


# --- inner loops ---

MAML = """
net = linear(4) >> tanh >> linear(1)
rate = 0.1
t = train(on = points, update = {net: net}) {
  loss = row => {
    x    = stacked(row)
    fast = descend(net, m => mean(square(m(x[0:4])[:, 0] - row.y[0:4])), steps = 2, lr = rate)
    same = net.with(weights(net) + 0 * weights(fast))
    return {
      outer: mean(square(fast(x[4:8])[:, 0] - row.y[4:8])),
      moved: 0.1 * sum(square(weights(fast) - weights(net))),
      zero:  mean(square(same(x) - net(x)))
    }
  }
  optimizer = sgd(lr = 0.1)
  batch     = 8
  budget    = 5steps
}
"""


def test_descend_is_learned_through(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns, tmp_path: Path
) -> None:
    spec = spec_of(compiled(MAML), "train")
    result = backend.train(
        spec, table, ids(), None, {}, tmp_path, emit=lambda e: None, stop=lambda: False, record="step"
    )
    weights = network(initial_weights(spec["slots"], {}))
    optimizer, stream, losses = torch.optim.SGD(weights, lr=0.1), Stream(ids(), 8, spec["seed"]), []
    for step in range(5):
        index = stream.indices(step)
        x = torch.tensor(np.stack([table[name][index] for name in "abc"], axis=-1))
        y, fast = torch.tensor(table["y"][index]), list(weights)
        for _ in range(2):
            inner = ((forward(fast, x[:4])[:, 0] - y[:4]) ** 2).mean()
            slopes = torch.autograd.grad(inner, fast, create_graph=True)
            fast = [weight - 0.1 * slope for weight, slope in zip(fast, slopes, strict=True)]
        outer = ((forward(fast, x[4:])[:, 0] - y[4:]) ** 2).mean()
        moved = sum((a - b).square().sum() for a, b in zip(fast, weights, strict=True))
        loss = outer + 0.1 * moved
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(outer.item())

    assert [row["outer"] for row in result.history] == pytest.approx(losses, rel=1e-4)
    assert all(row["zero"] < 1e-10 for row in result.history)
    for found, expected in zip(result.weights, weights, strict=True):
        np.testing.assert_allclose(found, expected.detach(), atol=1e-5)


# --- each ---


def test_each_maps_over_the_first_axis_of_what_a_row_holds(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns
) -> None:
    workflow = compiled(
        """
        z = map(points, row => {
          x     = stacked(row)
          pairs = each(x, u => each(x, v => u * v + row.y))
          both  = each({p: x, q: 2 * x}, ({p, q}) => {sum: p + q, slope: grad(p ** 2 * q, wrt = p)})
          return {pairs, sum: both.sum, slope: both.slope}
        })
        """
    )
    found = mapped(backend, workflow, table)
    x = np.stack([table[name] for name in "abc"], axis=-1).astype(np.float64)

    assert uses_backend(next(stage for stage in workflow.stages.values() if stage.kind == "map"))
    np.testing.assert_allclose(found["pairs"], x[:, :, None] * x[:, None] + table["y"][:, None, None], atol=1e-5)
    np.testing.assert_allclose(found["sum"], 3 * x, atol=1e-5)
    np.testing.assert_allclose(found["slope"], 4 * x**2, atol=1e-4)


TASKS = """
net = linear(4) >> tanh >> linear(1)
t = train(on = points, update = {net: net}) {
  loss = row => {
    rows = stacked(row)
    x = stack([rows[0:4], rows[4:8]])
    y = stack([row.y[0:4], row.y[4:8]])
    losses = each({x, y}, task => {
      fast = descend(net, m => mean(square(m(task.x[0:2])[:, 0] - task.y[0:2])), steps = 2, lr = 0.1)
      return mean(square(fast(task.x[2:4])[:, 0] - task.y[2:4]))
    })
    return mean(losses)
  }
  optimizer = sgd(lr = 0.1)
  batch     = 8
  budget    = 4steps
}
"""


def test_tasks_of_a_batch_have_inner_loops_of_their_own(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns, tmp_path: Path
) -> None:
    spec = spec_of(compiled(TASKS), "train")
    result = backend.train(spec, table, ids(), None, {}, tmp_path, emit=lambda e: None, stop=lambda: False)
    weights = network(initial_weights(spec["slots"], {}))
    optimizer, stream = torch.optim.SGD(weights, lr=0.1), Stream(ids(), 8, spec["seed"])
    for step in range(4):
        index = stream.indices(step)
        xs = torch.tensor(np.stack([table[name][index] for name in "abc"], axis=-1)).reshape(2, 4, 3)
        ys, losses = torch.tensor(table["y"][index]).reshape(2, 4), []
        for x, y in zip(xs, ys, strict=True):
            fast = list(weights)
            for _ in range(2):
                inner = ((forward(fast, x[:2])[:, 0] - y[:2]) ** 2).mean()
                slopes = torch.autograd.grad(inner, fast, create_graph=True)
                fast = [weight - 0.1 * slope for weight, slope in zip(fast, slopes, strict=True)]
            losses.append(((forward(fast, x[2:])[:, 0] - y[2:]) ** 2).mean())
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()

    for found, expected in zip(result.weights, weights, strict=True):
        np.testing.assert_allclose(found, expected.detach(), atol=1e-5)


# --- scan ---


def test_scan_carries_a_state_over_the_first_axis(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns
) -> None:
    workflow = compiled(
        """
        z = map(points, row => {
          x   = stacked(row)
          run = scan(x, from = {total: 0.0, most: row.y}, ({total, most}, v) => {
            next: {total: total + v, most: maximum(most, v)}, out: {seen: total + v, twice: [2 * v, total][0]}
          })
          return {last: run.last.total, most: run.last.most, seen: run.outs.seen, twice: run.outs.twice,
                  slope: grad(sum(square(run.outs.seen)), wrt = x)}
        })
        """
    )
    found = mapped(backend, workflow, table)
    x = np.stack([table[name] for name in "abc"], axis=-1).astype(np.float64)
    sums = np.cumsum(x, axis=-1)

    np.testing.assert_allclose(found["seen"], sums, atol=1e-5)
    np.testing.assert_allclose(found["last"], sums[:, -1], atol=1e-5)
    np.testing.assert_allclose(found["most"], np.maximum(x.max(-1), table["y"]), atol=1e-5)
    np.testing.assert_allclose(found["twice"], 2 * x, atol=1e-5)
    slope = 2 * np.cumsum(sums[:, ::-1], axis=-1)[:, ::-1]
    np.testing.assert_allclose(found["slope"], slope, atol=1e-4)


def test_a_recurrent_model_is_a_scan(both: list[Backend], compiled: Callable[[str], Workflow], table: Columns) -> None:
    recipe = """
    model rnn(width: int)(x) {
      inward = linear(width)
      cell   = linear(width, bias = false)
      steps  = transpose(inward(x), axes = [1, 0, 2])
      run    = scan(steps, from = 0 * steps[0], (h, x) => { h2 = tanh(x + cell(h))  return {next: h2, out: mean(h2)} })
      return run.last + mean(run.outs)
    }
    net = rnn(4) >> linear(1)
    t = train(on = points, update = {net: net}) {
      loss   = row => mean(square(net(stack([stacked(row), 2 * stacked(row)], axis = 1))[:, 0] - row.y))
      batch  = 8
      budget = 6steps
    }
    """
    spec = spec_of(compiled(recipe), "train")
    found = compare_train(both, spec, table, ids(), None, {}, steps=6)

    assert len(spec["slots"]) == 5
    assert found["loss_difference"] <= 1e-5 and found["agrees"]


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
        ("sum(net.with(weights(net))(x))", "E407"),
        ("sum(weights(descend(net, m => sum(m(x)))))", "E407"),
        ("sum(each(x, u => u * normal([])))", "E407"),
        ("sum(normal([]) * each(x, u => 2 * u))", None),
        ("scan(x, from = 0.0, (s, u) => s + u)", "E301"),
        ("scan(x, from = 0.0, (s, u) => {next: x, out: u}).last", "E301"),
        ("scan(x, from = 0.0, (s, u) => {next: s + normal([]), out: u}).last", "E407"),
        ("sum(each(row.a, u => u))", "E314"),
        ("sum(each(3, u => u))", "E301"),
        ("each(x, u => net)", "E301"),
        ("sum(weights(net.with(weights(other))))", "E302"),
    ],
)
def test_what_has_no_derivative_or_does_not_fit_is_refused(
    tmp_path: Path, table: Columns, expression: str, code: str | None
) -> None:
    text = (
        PRELUDE
        + NET
        + "other = linear(3)\n"
        + f"z = map(points, row => {{ x = stacked(row)  u = net(x)  v = other(x)  return {{r: {expression}}} }})"
    )
    expected = [code] if code else []
    assert [d.code for d in compile_text(text, "test.etude", tmp_path).diagnostics if d.code[0] == "E"] == expected
