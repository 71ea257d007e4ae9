"""Loops over ranges in tensor programs: one operation, against numbers, across backends, and against unrolled ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend
from etude.backends.parity import compare_train
from etude.compiler.workflow import Workflow

from .conftest import Columns, Mapped, spec_of


def operations(workflow: Workflow, kind: str) -> list[str]:
    spec = spec_of(workflow, kind)
    program = spec["program"] if kind == "map" else spec["steps"][0]["loss"]
    return list(program["operations"])


def test_a_loop_over_a_range_gives_what_its_rounds_give(mapped: Mapped, table: Columns) -> None:
    found = mapped(
        """row => {
          x = stacked(row)
          plain = loop (h = x, i in 1..5) { return h * 0.5 + i }
          many  = loop (c = {s: 0.0, k: 0}, i in 0..3) { return {s: c.s + row.y * i, k: c.k + i} }
          inner = loop (h = x, i in 1..2) { return loop (g = h, j in 1..3) { return g + i * j + row.y * mean(h) } }
          none  = loop (h = x, i in 1..0) { return 2 * h }
          return {plain, s: many.s, k: many.k, inner, none}
        }"""
    )
    x = np.stack([table[name] for name in "abc"], axis=-1).astype(np.float64)
    plain, inner = x, x
    for i in range(1, 6):
        plain = plain * 0.5 + i
    for i in (1, 2):
        mean = inner.mean(-1, keepdims=True)
        inner = inner + 6 * i + 3 * table["y"][:, None] * mean

    assert set(found) == {"numpy", "torch", "jax"}
    for columns in found.values():
        np.testing.assert_allclose(columns["plain"], plain, rtol=1e-5)
        np.testing.assert_allclose(columns["inner"], inner, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(columns["s"], 6 * table["y"], rtol=1e-5)
        np.testing.assert_array_equal(columns["k"], 6)
        np.testing.assert_array_equal(columns["none"], np.float32(x))


def test_the_body_stands_once_in_the_program(compiled: Callable[[str], Workflow]) -> None:
    workflow = compiled("z = map(points, row => {r: loop (h = stacked(row), i in 1..1000) { return tanh(h) + i }})")
    program = spec_of(workflow, "map")["program"]

    assert sum(op[0] == "tanh" for sub in program["subs"] for op in sub["ops"]) == 1


@pytest.mark.parametrize(
    "loop",
    [
        "loop (h = x, i in 0..1) { return h * ws[i] }",
        "loop (h = x, i in 0..1) { return picked(ws, i) * h }",
        "loop (h = x, w in ws) { return h * w }",
        "loop (hs = [x], i in 1..2) { return hs + [2 * hs[-1]] }[2] * 1.5",
        "x * loop (n = 1, i in 1..3) { return n * i } / 1.0",
    ],
)
def test_loops_over_lists_or_that_index_lists_are_unrolled(
    compiled: Callable[[str], Workflow], mapped: Mapped, table: Columns, loop: str
) -> None:
    function = f"row => {{ x = row.a  ws = [2.0, 3.0]  return {{r: {loop}}} }}"
    prelude = "fn picked(ws, i) = ws[i]\n"
    assert "loop" not in operations(compiled(f"{prelude}z = map(points, {function})"), "map")
    found = mapped(function.replace("picked(ws, i)", "ws[i]"))

    for columns in found.values():
        np.testing.assert_allclose(columns["r"], 6 * table["a"], rtol=1e-5)


def test_an_inner_loop_that_indexes_a_list_by_the_outer_number_unrolls_the_outer_one_alone(
    compiled: Callable[[str], Workflow], mapped: Mapped, table: Columns
) -> None:
    function = """row => {
      ws = [2.0, 3.0]
      return {r: loop (h = row.a, i in 0..1) { return loop (g = h, j in 1..3) { return g * ws[i] } }}
    }"""
    program = spec_of(compiled(f"z = map(points, {function})"), "map")["program"]

    assert sum(op[0] == "loop" for op in program["subs"][-1]["ops"]) == 2
    for columns in mapped(function).values():
        np.testing.assert_allclose(columns["r"], 6**3 * table["a"], rtol=1e-5)


def test_gradients_go_through_loops_and_stand_inside_of_them(mapped: Mapped, table: Columns) -> None:
    found = mapped(
        """row => {
          x = stacked(row)
          through = grad(sum(loop (h = x, i in 1..3) { return h * h / 2 + i }), wrt = x)
          within  = loop (h = x, i in 1..4) { return h - 0.1 * grad(sum(h ** 4) / 4, wrt = h) }
          both    = grad(sum(loop (h = x, i in 1..2) { return h - 0.1 * grad(sum(h ** 4) / 4, wrt = h) }), wrt = x)
          return {through, within, both}
        }"""
    )
    x = np.stack([table[name] for name in "abc"], axis=-1).astype(np.float64)
    h, through, within, moved, both = x, 1.0, x, x, 1.0
    for i in range(1, 4):
        through, h = through * h, h * h / 2 + i
    for _ in range(4):
        within = within - 0.1 * within**3
    for _ in range(2):
        both, moved = both * (1 - 0.3 * moved**2), moved - 0.1 * moved**3

    assert set(found) == {"torch", "jax"}
    for columns in found.values():
        np.testing.assert_allclose(columns["through"], through, rtol=2e-4, atol=1e-4)
        np.testing.assert_allclose(columns["within"], within, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(columns["both"], both, rtol=1e-3, atol=1e-4)


def test_draws_are_new_in_each_round_and_the_same_on_all_backends(
    mapped: Mapped, backends: Mapping[str, Backend], compiled: Callable[[str], Workflow], table: Columns, ids: Any
) -> None:
    function = """row => {
      drawn = loop (h = {last: 0.0, one: 0.0, two: 0.0}, i in 1..2) {
        fresh = uniform([])
        return {last: fresh, one: where(i == 1, fresh, h.one), two: where(i == 2, fresh, h.two)}
      }
      return {one: drawn.one, two: drawn.two}
    }"""
    found = mapped(function)

    assert set(found) == {"numpy", "torch", "jax"}
    for columns in found.values():
        np.testing.assert_array_equal(columns["one"], found["numpy"]["one"])
        np.testing.assert_array_equal(columns["two"], found["numpy"]["two"])
    assert len(np.unique(np.concatenate([found["numpy"]["one"], found["numpy"]["two"]]))) == 2 * len(ids)

    spec = spec_of(compiled(f"z = map(points, {function})"), "map")
    few = backends["torch"].rows(spec, {name: column[5:9] for name, column in table.items()}, ids[5:9], {})
    np.testing.assert_array_equal(few["two"], found["numpy"]["two"][5:9])


TRAINED = """
net = linear(4) >> tanh >> linear(3)
t = train(on = points, update = {net: net}) {
  loss = row => {
    x = stacked(row)
    end = loop (h = x, i in NUMBERS) { return h + 0.1 * i * net(h) }
    return mean(square(mean(end, axis = -1) - row.y))
  }
  batch  = 8
  budget = 5steps
}
"""


def test_training_through_a_loop_is_training_through_its_rounds(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any, tmp_path: Path
) -> None:
    rolled, unrolled = (compiled(TRAINED.replace("NUMBERS", text)) for text in ("1..3", "[1, 2, 3]"))
    assert "loop" in operations(rolled, "train") and "loop" not in operations(unrolled, "train")
    for name in ("torch", "jax"):
        results = []
        for number, workflow in enumerate((rolled, unrolled)):
            folder = tmp_path / f"{name}{number}"
            folder.mkdir()
            spec = spec_of(workflow, "train")
            results.append(
                backends[name].train(spec, table, ids, None, {}, folder, emit=lambda e: None, stop=lambda: False)
            )
        for one, other in zip(results[0].weights, results[1].weights, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5)
    both = [backends["torch"], backends["jax"]]
    assert compare_train(both, spec_of(rolled, "train"), table, ids, None, {}, steps=5)["agrees"]


def test_fast_weights_are_carried_and_the_noise_of_a_round_is_its_own(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any
) -> None:
    recipe = """
    net = linear(4) >> tanh >> linear(1)
    t = train(on = points, update = {net: net}) {
      loss = row => {
        x    = stacked(row)
        slow = mean(square(net(x)[:, 0] - row.y))
        fast = loop (w = weights(net), i in 1..3) {
          task = mean(square(net.with(w)(x + 0.1 * normal(x.shape))[:, 0] - row.y))
          return w - 0.1 * grad(task, wrt = w)
        }
        return slow + mean(square(net.with(fast)(x)[:, 0] - row.y))
      }
      batch  = 8
      budget = 4steps
    }
    """
    spec = spec_of(compiled(recipe), "train")
    found = compare_train([backends["torch"], backends["jax"]], spec, table, ids, None, {}, steps=4)

    assert found["loss_difference"] <= 1e-5 and found["agrees"]


def test_a_model_in_a_loop_of_rows_sees_the_batch(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any
) -> None:
    recipe = """
    net = linear(3, bias = false)
    z = map(points, row => {
      x = stacked(row)
      r = loop (h = x, i in 1..3) { return tanh(net(h)) + i }
      g = grad(sum(loop (h = x, i in 1..2) { return tanh(net(h)) }), wrt = x)
      return {r, g}
    })
    """
    spec = spec_of(compiled(recipe), "map")
    weight = np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32)
    spec["slots"] = [{**spec["slots"][0], "source": {"input": 0, "index": 0}}]
    x = np.stack([table[name] for name in "abc"], axis=-1).astype(np.float64)
    expected = x
    for i in range(1, 4):
        expected = np.tanh(expected @ weight) + i
    first = np.tanh(x @ weight)
    second = np.tanh(first @ weight)
    slope = ((1 - second**2) @ weight.T * (1 - first**2)) @ weight.T
    for name in ("torch", "jax"):
        found = backends[name].rows(spec, table, ids, {0: [weight]})
        np.testing.assert_allclose(found["r"], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["g"], slope, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("loop", "code"),
    [
        ("loop (h = 0, i in 1..3) { return h + row.a }", "E315"),
        ("loop (h = 0.0, i in 1..3) { return h + stacked(row) }", "E315"),
        ("loop (h = {a: row.a}, i in 1..3) { return {b: h.a} }.a", "E315"),
        ("loop (h = row.a, i in 1..3, while h < 2) { return 2 * h }", "E417"),
        ("loop (h = row.a, i in 1..3) { return if i == 2 then h else 2 * h }", "E314"),
        ("sum(loop (h = zeros([3]), i in 1..3) { return h + zeros([i]) })", "E301"),
        ("loop (h = row.a, i in 1..3) { return linear(1)(stacked(row))[0] * h }", "E402"),
        ("loop (h = row.a, i in 1..3) { return h * grad(h * row.b, wrt = row.b) }", "E416"),
        ("loop (h = row.a, i in 1..3) { return h * grad(stop(h) * row.b, wrt = row.b) }", None),
        ("loop (h = row.a, i in 1..3) { return h * grad(square(h), wrt = h) }", None),
        ("loop (h = row.a, i in 1..3) { return 2 * hh }", "E201"),
        ("loop (h = row.a, i in stacked(row)) { return h * i }", "E301"),
        ("loop (h = row.a, i in 1..int(row.b)) { return h * i }", "E301"),
    ],
)
def test_what_a_loop_cannot_do_is_refused(codes: Callable[[str], list[str]], loop: str, code: str | None) -> None:
    assert codes(f"z = map(points, row => {{r: {loop}}})") == ([code] if code else [])


def test_weights_are_made_outside_of_rounds(codes: Callable[[str], list[str]]) -> None:
    recipe = """
    model deep()(x) {
      shared = linear(3)
      return loop (h = x, i in 1..3) { return BODY }
    }
    z = map(points, row => {r: deep(seed = 1)(stacked(row))})
    """
    assert codes(recipe.replace("BODY", "tanh(linear(3)(h))")) == ["E415"]
    assert codes(recipe.replace("BODY", "h * weight([3])")) == ["E415"]
    assert codes(recipe.replace("BODY", "tanh(shared(h))")) == ["E402"]
