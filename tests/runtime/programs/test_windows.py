"""Slices that start where the program says, and tensors made of numbers: against numpy, across backends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from .conftest import Columns, Mapped


def test_slices_start_where_the_program_says(mapped: Mapped, table: Columns) -> None:
    found = mapped(
        """row => {
          x = concat([stacked(row), 2 * stacked(row)])
          m = stack([x, -x], axis = -1)
          i = int(floor(2 * row.y)) + 2
          sums = loop (s = 0.0, k in 0..2) { return s + sum(x[2 * k:2 * k + 2]) * k }
          return {near: x[i:i + 2], far: slice(x, i, 2), deep: m[i - 1:i + 1, 0], wide: m[..., i - i:2 + (i - i)],
                  one: m[i, 1], sums, fixed: slice(m, 1, 3, axis = 0), three: x[3 + i - 3:i + 3]}
        }"""
    )
    x = np.concatenate([np.stack([table[name] for name in "abc"], -1)] * 2, -1) * np.float32([1, 1, 1, 2, 2, 2])
    m = np.stack([x, -x], -1)
    place = np.floor(2 * table["y"]).astype(int) + 2

    def cut(values: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        starts = np.clip(starts, 0, values.shape[1] - length)
        return np.stack([row[start : start + length] for row, start in zip(values, starts, strict=True)])

    assert set(found) == {"numpy", "torch", "jax"}
    assert place.min() < 0 or place.max() > 4
    for columns in found.values():
        np.testing.assert_array_equal(columns["near"], cut(x, place, 2))
        np.testing.assert_array_equal(columns["far"], cut(x, place, 2))
        np.testing.assert_array_equal(columns["deep"], cut(m, place - 1, 2)[..., 0])
        np.testing.assert_array_equal(columns["wide"], m)
        np.testing.assert_array_equal(columns["one"], cut(m, place, 1)[:, 0, 1])
        np.testing.assert_array_equal(columns["three"], cut(x, place, 3))
        np.testing.assert_array_equal(columns["fixed"], m[:, 1:4])
        np.testing.assert_allclose(columns["sums"], x[:, 2:4].sum(-1) + 2 * x[:, 4:6].sum(-1), rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_part_that_was_cut_out(mapped: Mapped, table: Columns) -> None:
    found = mapped("row => { x = stacked(row)  i = int(row.y > 0)  return {g: grad(sum(x[i:i + 2] ** 2), wrt = x)} }")
    x = np.stack([table[name] for name in "abc"], -1)
    place = (table["y"] > 0).astype(int)[:, None]
    inside = (np.arange(3) >= place) & (np.arange(3) < place + 2)

    assert set(found) == {"torch", "jax"}
    for columns in found.values():
        np.testing.assert_allclose(columns["g"], np.where(inside, 2 * x, 0), atol=1e-5)


def test_tensors_are_made_of_numbers(mapped: Mapped, table: Columns) -> None:
    found = mapped("row => {r: stacked(row) @ tensor([[1, 0.5], [0, 2], [3, -1]]), k: tensor([1, 2])[int(row.y > 0)]}")
    x = np.stack([table[name] for name in "abc"], -1)

    for columns in found.values():
        np.testing.assert_allclose(columns["r"], x @ np.float32([[1, 0.5], [0, 2], [3, -1]]), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(columns["k"], np.where(table["y"] > 0, 2, 1))


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("x[i:2 * i]", "E314"),
        ("x[i:]", "E314"),
        ("x[i:i + 9]", "E302"),
        ("x[i:i + 2, 0]", "E302"),
        ("x[0, i]", "E302"),
        ("x[row.y:row.y + 1]", "E301"),
        ("slice(x, i, i)", "E301"),
        ("tensor([1, [2, 3]])", "E302"),
    ],
)
def test_slices_that_are_not_known_are_refused(codes: Callable[[str], list[str]], expression: str, code: str) -> None:
    function = f"row => {{ x = stacked(row)  i = int(floor(row.y))  return {{r: {expression}}} }}"
    assert codes(f"z = map(points, {function})") == [code]
