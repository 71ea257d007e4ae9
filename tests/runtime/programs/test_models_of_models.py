"""Models inside of others: with other weights, tapped, and frozen where they learn elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from etude.backends.base import Backend
from etude.backends.batches import Stream
from etude.backends.inputs import initial_weights
from etude.backends.parity import compare_train
from etude.compiler.workflow import Workflow

from .conftest import ROWS, Columns, spec_of

Compiled = Callable[[str], Workflow]
FROZEN = """
model scaled()(x) {
  s = weight([x.shape[-1]], init = ones)
  return linear(1)(x * s)
}
net   = scaled()
other = replace(frozen(net), at = "linear", with = part => linear(1, seed = 3))
t = train(on = points, update = {net: net, other: other}) {
  loss = row => {
    x = stacked(row)
    first  = mean(square(net(x)[:, 0] - row.y))
    second = mean(square(other(x)[:, 0] + row.y))
    return first + second
  }
  optimizer = sgd(lr = 0.1)
  batch     = 8
  budget    = 4steps
}
"""


def test_a_frozen_model_with_replaced_parts_follows_what_learns_and_moves_nothing_of_it(
    backend: Backend, compiled: Compiled, table: Columns, ids: Any, tmp_path: Any
) -> None:
    spec = spec_of(compiled(FROZEN), "train")
    start = initial_weights(spec["slots"], {})
    result = backend.train(spec, table, ids, None, {}, tmp_path, emit=lambda e: None, stop=lambda: False)
    weights = [torch.tensor(w, requires_grad=True) for w in start]
    by_path = {slot["path"]: w for slot, w in zip(spec["slots"], weights, strict=True)}
    s = by_path["net.s"]
    (w, b), (v, c) = ([by_path[f"{name}.linear.{each}"] for each in "wb"] for name in ("net", "other"))
    optimizer, stream = torch.optim.SGD(weights, lr=0.1), Stream(ids, 8, spec["seed"])
    for step in range(4):
        index = stream.indices(step)
        x = torch.tensor(np.stack([table[name][index] for name in "abc"], axis=-1))
        y = torch.tensor(table["y"][index])
        first = (((x * s) @ w + b)[:, 0] - y).square().mean()
        second = (((x * s.detach()) @ v + c)[:, 0] + y).square().mean()
        optimizer.zero_grad()
        (first + second).backward()
        optimizer.step()

    for found, expected, before in zip(result.weights, weights, start, strict=True):
        np.testing.assert_allclose(found, expected.detach(), atol=1e-5)
        assert np.abs(found - before).max() > 0


STILL = """
net = linear(3) >> tanh >> linear(1)
t = train(on = points, update = {net: net}) {
  loss = row => {
    x = stacked(row)
    seen = net(x)
    return {task: mean(square(net(x)[:, 0] - row.y)), TERM}
  }
  optimizer = sgd(lr = 0.1)
  batch     = 8
  budget    = 3steps
}
"""


@pytest.mark.parametrize(
    "term",
    [
        "pull: sum(square(weights(frozen(net))))",
        "with: mean(frozen(net.with(2 * weights(net)))(x))",
        "around: mean(frozen(double(net.with(2 * weights(net))))(x))",
        "inside: mean(double(frozen(net))(x))",
        'tapped: mean(taps(frozen(net), "0")(x).activations[0])',
        "looped: loop (s = 0.0, i in 1..2) { return s + mean(frozen(net)(x)) + sum(weights(frozen(net))) }",
    ],
)
def test_nothing_learns_through_what_is_frozen(
    backends: Mapping[str, Backend], compiled: Compiled, table: Columns, ids: Any, tmp_path: Any, term: str
) -> None:
    found = []
    double = "model double(m)(x) { return 2 * m(x) }\n"
    for number, (text, names) in enumerate(((term, ("torch", "jax")), ("zero: 0.0", ("torch",)))):
        for name in names:
            folder = tmp_path / f"{number}{name}"
            folder.mkdir()
            spec = spec_of(compiled(double + STILL.replace("TERM", text)), "train")
            result = backends[name].train(
                spec, table, ids, None, {}, folder, emit=lambda e: None, stop=lambda: False, record="step"
            )
            found.append(result)
    assert all(row[term.split(":")[0]] != 0 for row in found[0].history)
    for other in found[1:]:
        for one, weights in zip(found[0].weights, other.weights, strict=True):
            np.testing.assert_allclose(one, weights, atol=1e-5)


COMPOSED = """
model double(m)(x) { return 2 * m(x) }
model twice(m)(x) { return double(m)(x) + m(tanh(x) + 1) }
net  = linear(3) >> tanh >> linear(3)
head = linear(1)
t = train(on = points, update = {net: net, head: head}) {
  loss = row => {
    x = stacked(row)
    seen = net(x)
    TERM
  }
  optimizer = sgd(lr = 0.1)
  batch     = 8
  budget    = 3steps
}
"""


@pytest.mark.parametrize(
    ("term", "same"),
    [
        ("return mean(square(head(twice(net.with(2 * weights(net)))(x))))", "m = net.with(2 * weights(net))  "
         "return mean(square(head(2 * m(x) + m(tanh(x) + 1))))"),
        ("fast = descend(net, m => mean(square(twice(m)(x))))  return mean(square(head(double(fast)(x))))",
         "fast = descend(net, m => mean(square(2 * m(x) + m(tanh(x) + 1))))  return mean(square(head(2 * fast(x))))"),
        ("found = taps(net, \"2\").with(2 * weights(net))(x)  return mean(square(head(found.activations[0])))",
         "return mean(square(head(net.with(2 * weights(net))(x))))"),
        ("m = twice(net.with(2 * weights(net)))  slope = grad(sum(m(x)), wrt = x)  return mean(square(head(slope)))",
         "m = net.with(2 * weights(net))  slope = grad(sum(2 * m(x) + m(tanh(x) + 1)), wrt = x)  "
         "return mean(square(head(slope)))"),
    ],
)  # fmt: skip
def test_a_model_with_other_weights_is_a_part_of_others(
    backends: Mapping[str, Backend], compiled: Compiled, table: Columns, ids: Any, tmp_path: Any, term: str, same: str
) -> None:
    found = []
    for number, text in enumerate((term, same)):
        spec = spec_of(compiled(COMPOSED.replace("TERM", text)), "train")
        for name in ("torch", "jax")[: 2 - number]:
            folder = tmp_path / f"{number}{name}"
            folder.mkdir()
            result = backends[name].train(
                spec, table, ids, None, {}, folder, emit=lambda e: None, stop=lambda: False, record="step"
            )
            weights = {slot["path"]: w for slot, w in zip(spec["slots"], result.weights, strict=True)}
            found.append((sorted((w.shape, float(np.abs(w).sum())) for w in weights.values()), result.history))
    for weights, history in found[1:]:
        assert [shape for shape, _ in weights] == [shape for shape, _ in found[0][0]]
        np.testing.assert_allclose([n for _, n in weights], [n for _, n in found[0][0]], rtol=1e-4)
        np.testing.assert_allclose([r["loss"] for r in history], [r["loss"] for r in found[0][1]], rtol=1e-4)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("(net.with(row.y * weights(net)) >> tanh >> head)(x)", "head(tanh(net.with(row.y * weights(net))(x)))"),
        ("(net.with(2 * weights(net)) >> (h => h + 1))(x)", "net.with(2 * weights(net))(x) + 1"),
        ("twice(net.with(row.y * weights(net)))(x)", "2 * m(x) + m(tanh(x) + 1)"),
        ("twice(double(net.with(row.y * weights(net))))(x)", "4 * m(x) + 2 * m(tanh(x) + 1)"),
        ("taps(net, \"0\").with(row.y * weights(net))(x).output", "m(x)"),
        ("grad(sum(twice(net.with(row.y * weights(net)))(x)), wrt = x)",
         "grad(sum(2 * m(x) + m(tanh(x) + 1)), wrt = x)"),
        ("each(stack([x, 2 * x]), u => sum(double(net.with(row.y * weights(net)))(u)))",
         "each(stack([x, 2 * x]), u => 2 * sum(m(u)))"),
    ],
)  # fmt: skip
def test_a_model_with_weights_of_a_row_is_a_part_of_others(
    backends: Mapping[str, Backend], compiled: Compiled, table: Columns, ids: Any, one: str, same: str
) -> None:
    prelude = COMPOSED[: COMPOSED.index("t = train")]
    recipe = f"""{prelude}
    z = map(points, row => {{
      x = stacked(row)
      seen = head(net(x))
      m = net.with(row.y * weights(net))
      return {{one: {one}, same: {same}}}
    }})"""
    spec = spec_of(compiled(recipe), "map")
    found = {name: backends[name].rows(spec, table, ids, {}) for name in ("torch", "jax")}

    assert len(found["torch"]["one"]) == ROWS and np.abs(found["torch"]["one"]).max() > 0
    for columns in found.values():
        np.testing.assert_allclose(columns["one"], columns["same"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["torch"]["one"], found["jax"]["one"], rtol=1e-4, atol=1e-5)


TAPPED = """
net  = linear(3) >> tanh >> linear(3)
seen = taps(net, ["0", "2"])
t = train(on = points, update = {net: net}) {
  loss = ({a, b, c, y}, {teacher}) => {
    x = stack([a, b, c], axis = -1)
    found = teacher(x)
    return mean(square(net(x) - stop(found.output) - 1)) + mean(square(found.activations[0] - seen(x).activations[0]))
  }
  ema    = {teacher: slow(seen, 0.5)}
  batch  = 8
  budget = 4steps
}
changed = replace(taps(t.net, "0"), at = "2", with = part => frozen(part))
z = map(points, row => {first: t.teacher(stacked(row)).activations[1], second: changed(stacked(row)).activations[0]})
"""


def test_a_tapped_model_may_be_followed_slowly_and_have_parts_replaced(
    both: list[Backend], compiled: Compiled, table: Columns, ids: Any
) -> None:
    workflow = compiled(TAPPED)
    spec = spec_of(workflow, "train")
    found = compare_train(both, spec, table, ids, None, {}, steps=4)

    assert found["loss_difference"] <= 1e-5 and found["agrees"]
    assert len(spec["ema"]) == 4
    rows = spec_of(workflow, "map")
    drawn = initial_weights(spec["slots"], {})
    weights = {slot["source"]["input"]: drawn[:4] for slot in rows["slots"]}
    first, second = (backend.rows(rows, table, ids, weights) for backend in both)
    for name, column in first.items():
        assert column.shape == (ROWS, 3)
        np.testing.assert_allclose(column, second[name], atol=1e-5)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("start(net.with(2 * weights(net)))", ["E412"]),
        ("reseed(net.with(2 * weights(net)), 3)", ["E412"]),
        ('replace(net.with(2 * weights(net)), at = "0", with = part => linear(3))', ["E412"]),
        ("start(net).with(2 * weights(net))", []),
        ("frozen(net.with(2 * weights(net)))", []),
    ],
)
def test_tensors_in_the_place_of_weights_are_not_changed_with_the_model(
    codes: Callable[[str], list[str]], model: str, found: list[str]
) -> None:
    text = COMPOSED.replace("TERM", f"return mean(square(head(net(x)))) + mean({model}(x))")
    assert codes(text) == found


def test_a_frozen_model_drops_nothing_out_where_the_model_learns(
    backend: Backend, compiled: Compiled, table: Columns, ids: Any, tmp_path: Any
) -> None:
    recipe = """
    model dropping()(x) { return dropout(linear(3)(x), 0.5) }
    net = dropping()
    t = train(on = points, update = {net: net}) {
      loss = row => {
        x = stacked(row)
        return {task: mean(square(net(x))), same: mean(abs(frozen(net)(x) - frozen(net)(x))),
                other: mean(abs(net(x) - frozen(net)(x)))}
      }
      budget = 2steps
    }
    """
    spec = spec_of(compiled(recipe), "train")
    result = backend.train(spec, table, ids, None, {}, tmp_path, emit=lambda e: None, stop=lambda: False, record="step")
    assert all(row["same"] == 0 and row["other"] > 0 for row in result.history)
