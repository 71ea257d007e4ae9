"""Functions inside of functions: inner loops, `each` and `scan`, against numbers, and across backends."""

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


def network(values: list[np.ndarray]) -> list[torch.Tensor]:
    return [torch.tensor(value, requires_grad=True) for value in values]


def forward(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    w, b, v, c = weights
    return torch.tanh(x @ w + b) @ v + c


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
