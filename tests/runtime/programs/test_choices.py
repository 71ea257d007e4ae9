"""`choose(i, [f, g])(x)`: against numbers, across backends, with models as branches, per row and per element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend
from etude.backends.inputs import initial_weights
from etude.backends.parity import compare_train
from etude.compiler.workflow import Workflow

from .conftest import Columns, Mapped, spec_of


def test_every_row_has_its_own_branch(mapped: Mapped, table: Columns) -> None:
    found = mapped(
        """row => {
          x = stacked(row)
          i = int(floor(2 * row.y))
          one  = choose(i, [h => 2 * h, h => h + mean(x), h => -h])(x)
          two  = choose(i, [({u, v}) => {s: u, t: v}, ({u, v}) => {s: v, t: u}])({u: row.a, v: row.b})
          bare = choose(i, [() => 1.0, () => 2.0])()
          most = loop (h = x, k in 0..2) { return choose(k, [g => g + 1, g => 10 * g, g => g - row.y])(h) }
          return {one, s: two.s, t: two.t, bare, most, fixed: choose(1, [h => h, h => 3 * h])(row.a)}
        }"""
    )
    x = np.stack([table[name] for name in "abc"], axis=-1)
    place = np.floor(2 * table["y"]).astype(int)[:, None]
    one = np.where(place <= 0, 2 * x, np.where(place == 1, x + x.mean(-1, keepdims=True), -x))
    first = place[:, 0] <= 0

    assert set(found) == {"numpy", "torch", "jax"}
    assert {-1, 0, 1, 2} <= set(place[:, 0].tolist())  # places outside of the list are held within
    for columns in found.values():
        np.testing.assert_allclose(columns["one"], one, atol=1e-5)
        np.testing.assert_array_equal(columns["s"], np.where(first, table["a"], table["b"]))
        np.testing.assert_array_equal(columns["t"], np.where(first, table["b"], table["a"]))
        np.testing.assert_array_equal(columns["bare"], np.where(first, 1, 2))
        np.testing.assert_allclose(columns["most"], 10 * (x + 1) - table["y"][:, None], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(columns["fixed"], 3 * table["a"], rtol=1e-6)


def test_elements_choose_and_gradients_go_through_the_chosen_branch(mapped: Mapped, table: Columns) -> None:
    found = mapped(
        """row => {
          x = stacked(row)
          many  = each(x, u => choose(int(u > 0), [v => -v, v => v * v])(u))
          slope = grad(sum(choose(int(row.y > 0), [h => h * h, h => h ** 3])(x)), wrt = x)
          turn  = grad(sum(loop (h = x, k in 0..1) { return choose(k, [g => g * g, g => 3 * g])(h) }), wrt = x)
          return {many, slope, turn}
        }"""
    )
    x = np.stack([table[name] for name in "abc"], axis=-1)

    assert set(found) == {"torch", "jax"}
    for columns in found.values():
        np.testing.assert_allclose(columns["many"], np.where(x > 0, x * x, -x), atol=1e-5)
        np.testing.assert_allclose(columns["slope"], np.where(table["y"][:, None] > 0, 3 * x * x, 2 * x), atol=1e-4)
        np.testing.assert_allclose(columns["turn"], 6 * x, atol=1e-4)


def test_draws_of_a_branch_are_those_of_the_row(mapped: Mapped, table: Columns) -> None:
    found = mapped(
        """row => {
          i = int(row.y > 0)
          return {r: choose(i, [h => h + uniform([]), h => h])(row.a)}
        }"""
    )
    still = table["y"] > 0
    noise = found["numpy"]["r"] - table["a"]

    assert np.all(noise[still] == 0) and len(np.unique(noise[~still])) == (~still).sum()
    for columns in found.values():
        np.testing.assert_array_equal(columns["r"], found["numpy"]["r"])


EXPERTS = """
experts = [linear(4, seed = k) >> tanh >> linear(1) for k in 1..3]
t = train(on = points, update = experts) {
  loss = ({a, b, c, y}, {step}) => {
    x = stack([a, b, c], axis = -1)
    return mean(square(choose(step % 3, experts)(x)[:, 0] - y)) + 0.1 * mean(square(choose(randint(0, 2), experts)(x)))
  }
  optimizer = sgd(lr = 0.1)
  batch     = 8
  budget    = STEPSsteps
}
"""


def test_models_are_branches_and_learn_when_they_are_picked(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any, tmp_path: Any
) -> None:
    spec = spec_of(compiled(EXPERTS.replace("STEPS", "5")), "train")
    found = compare_train([backends["torch"], backends["jax"]], spec, table, ids, None, {}, steps=5)
    assert found["loss_difference"] <= 1e-5 and found["agrees"]

    alone = EXPERTS.replace("STEPS", "1").replace(" + 0.1 * mean(square(choose(randint(0, 2), experts)(x)))", "")
    # a branch that is not picked has a gradient of zero: momentum and decay move its weights on
    moving = alone.replace("sgd(lr = 0.1)", "adamw(lr = 1e-2)").replace("1steps", "6steps")
    found = compare_train(
        [backends["torch"], backends["jax"]], spec_of(compiled(moving), "train"), table, ids, None, {}, steps=6
    )
    assert found["loss_difference"] <= 1e-5 and found["agrees"]
    spec = spec_of(compiled(alone), "train")
    for name in ("torch", "jax"):
        folder = tmp_path / name
        folder.mkdir()
        result = backends[name].train(spec, table, ids, None, {}, folder, emit=lambda e: None, stop=lambda: False)
        start = initial_weights(spec["slots"], {})
        moved = [np.abs(new - old).max() > 0 for new, old in zip(result.weights, start, strict=True)]
        experts = [moved[i : i + 4] for i in (0, 4, 8)]
        assert sorted(map(all, experts)) == [False, False, True] and sum(moved) == 4


def test_a_row_picks_a_model(
    compiled: Callable[[str], Workflow], backends: Mapping[str, Backend], table: Columns, ids: Any
) -> None:
    recipe = """
    low  = linear(1, bias = false)
    high = linear(1, bias = false, seed = 1)
    z = map(points, row => {r: choose(int(row.y > 0), [low, high])(stacked(row))})
    """
    spec = spec_of(compiled(recipe), "map")
    weights = [np.full((3, 1), value, np.float32) for value in (1.0, 2.0)]
    spec["slots"] = [{**slot, "source": {"input": 0, "index": i}} for i, slot in enumerate(spec["slots"])]
    total = np.stack([table[name] for name in "abc"], axis=-1).sum(-1)
    for name in ("torch", "jax"):
        found = backends[name].rows(spec, table, ids, {0: weights})["r"][:, 0]
        np.testing.assert_allclose(found, np.where(table["y"] > 0, 2, 1) * total, atol=1e-5)


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("choose(int(row.y), [h => h, h => stack([h, h])])(row.a)", "E316"),
        ("choose(int(row.y), [h => h, h => h > 0])(row.a)", "E316"),
        ("choose(row.y, [h => h, h => -h])(row.a)", "E301"),
        ("choose(int(stacked(row)), [h => h, h => -h])(row.a)", "E301"),
        ("choose(int(row.y), [])(row.a)", "E301"),
        ("choose(int(row.y), [1, 2])(row.a)", "E301"),
        ("choose(int(row.y), [h => h])(3)", "E301"),
        ("choose(int(row.y), [h => h, h => g])(row.a)", "E201"),
        ("(if row.a > 0 then row.b else row.c)", "E314"),
    ],
)
def test_what_cannot_be_chosen_is_refused(codes: Callable[[str], list[str]], expression: str, code: str) -> None:
    assert codes(f"z = map(points, row => {{r: {expression}}})") == [code]


def test_choose_stands_in_programs_only(codes: Callable[[str], list[str]]) -> None:
    assert codes("f = choose(1, [x => x, x => x])") == ["E406"]
