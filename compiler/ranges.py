"""Numbers that operations cannot take, found where they are plain: shares beyond 1, ends in the wrong order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from etude.compiler import faults
from etude.compiler.diagnostics import Location

_Test = tuple[tuple[str, ...], Callable[..., bool], str]


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _share(x: float) -> bool:
    return 0 <= x <= 1


def _above_zero(x: float) -> bool:
    return x > 0


def _from_one(x: float) -> bool:
    return x >= 1


def _in_order(low: float, high: float) -> bool:
    return low <= high


RANGES: Mapping[str, tuple[_Test, ...]] = {
    "bernoulli": ((("p",), _share, "a probability lies between 0 and 1"),),
    "beta": ((("a",), _above_zero, "'a' is above 0"), (("b",), _above_zero, "'b' is above 0")),
    "randint": ((("low", "high"), _in_order, "'low' is not above 'high'"),),
    "uniform": ((("low", "high"), _in_order, "'low' is not above 'high'"),),
    "clip": ((("low", "high"), _in_order, "'low' is not above 'high'"),),
    "one_hot": ((("classes",), _from_one, "there is at least one class"),),
    "repeat": ((("times",), _from_one, "there is at least one of each"),),
    "random_shift": ((("max_shift",), lambda x: x >= 0, "a shift is not below 0"),),
    "cross_entropy": ((("label_smoothing",), _share, "a share lies between 0 and 1"),),
}


def check_range(name: str, given: Mapping[str, Any], location: Location) -> None:
    """Raise RecipeError for a plain number that the operation `name` has no meaning for."""
    for names, holds, text in RANGES.get(name, ()):
        values = [given.get(each) for each in names]
        if all(map(_is_plain, values)) and not holds(*values):
            got = " and ".join(f"{value:g}" for value in values)
            raise faults.wrong_value(f"'{name}': {text}, got {got}", location)
