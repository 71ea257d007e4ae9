"""Operations on plain numbers, lists of them, and values known after the run, under the names of tensor operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from etude.compiler import faults
from etude.compiler.arithmetic import expression, is_number
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.values import Deferred, Measured, Quantity, Record, describe


def _mean(items: list[Any]) -> float:
    return math.fsum(items) / len(items)


def _std(items: list[Any]) -> float:
    center = _mean(items)
    return math.sqrt(_mean([(item - center) ** 2 for item in items]))


REDUCTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "mean": _mean, "sum": sum, "min": min, "max": max, "std": _std,
    "all": all, "any": any,
}  # fmt: skip
UNARY: dict[str, Callable[[Any], Any]] = {
    "abs": abs, "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "floor": math.floor, "round": round,
    "square": lambda x: x * x, "int": int, "float": float, "sin": math.sin, "cos": math.cos,
}  # fmt: skip
# What is computed with full precision of so many single numbers known after the run, and its name in expressions.
LATE = {
    **{(name, 1): name for name in ("abs", "sqrt", "exp", "log", "square", "floor", "round")},
    **{(name, 2): name[:3] for name in ("min", "max", "minimum", "maximum")},
    ("where", 3): "if",
}
EXTREMES = {"min", "max", "minimum", "maximum"}


def static_operation(name: str, positional: list[Any], named: dict[str, Any], site: CallSite) -> Any:
    """The result when the arguments are plain or deferred numbers; None when this is a matter of tensors."""
    if named or not positional:
        return None
    if name in REDUCTIONS and len(positional) == 1 and isinstance(positional[0], list):
        return _reduce(name, positional[0], site)
    if name in UNARY and len(positional) == 1 and is_number(positional[0]):
        return _compute(name, UNARY[name], positional, site)
    is_late = (name, len(positional)) in LATE and any(isinstance(v, Deferred) for v in positional)
    if is_late and all(isinstance(v, Deferred | bool | int | float) for v in positional):
        return Deferred([LATE[name, len(positional)], *(expression(v, site.location) for v in positional)])
    if name in EXTREMES and len(positional) == 2 and all(is_number(v) for v in positional):
        return min(positional) if name in {"min", "minimum"} else max(positional)
    return None


def _compute(name: str, function: Callable[..., Any], values: list[Any], site: CallSite) -> Any:
    try:
        return function(*values)
    except (ValueError, OverflowError) as error:
        raise faults.wrong_value(f"'{name}' of {values[0]}: {error}", site.location) from None


def _reduce(name: str, items: list[Any], site: CallSite) -> Any:
    if any(isinstance(item, Measured) for item in items):
        return None
    if any(isinstance(item, Deferred) for item in items):
        kind = "bool" if name in {"all", "any"} else "number"
        return Deferred([name, expression(items, site.location)], kind)
    if not items and name == "sum":
        return 0.0
    if not items:
        raise faults.wrong_value(f"'{name}' of an empty list", site.location)
    if all(isinstance(item, bool | int | float) for item in items):
        return REDUCTIONS[name](items)
    if site.session.frame is not None:
        return None
    first = next(item for item in items if not isinstance(item, bool | int | float))
    raise faults.wrong_kind(f"'{name}'", "a list of numbers", f"a list with {describe(first)}", site.location)


@builtin
def len_(site: CallSite, xs: Any) -> int:
    """The number of elements of a list."""
    if not isinstance(xs, list):
        raise faults.wrong_kind("'len'", "a list", describe(xs), site.at("xs"))
    return len(xs)


@builtin
def zip_(site: CallSite, columns: Any) -> list[Record]:
    """A list of records from a record of lists of one length."""
    if not isinstance(columns, Record) or not all(isinstance(v, list) for v in columns.values()):
        raise faults.wrong_kind("'zip'", "a record of lists", describe(columns), site.at("columns"))
    lengths = {name: len(v) for name, v in columns.items()}
    if len(set(lengths.values())) > 1:
        raise faults.wrong_value(f"'zip' of lists of different lengths: {lengths}", site.at("columns"))
    count = next(iter(lengths.values()), 0)
    return [Record({name: v[i] for name, v in columns.items()}) for i in range(count)]


@builtin
def rank(site: CallSite, xs: Any) -> list[Deferred]:
    """The ranks of a list of numbers, from 1; equal numbers share the mean of theirs."""
    if not isinstance(xs, list):
        raise faults.wrong_kind("'rank'", "a list of numbers", describe(xs), site.at("xs"))
    ranks = ["rank", expression(xs, site.location)]
    return [Deferred(["at", ranks, index]) for index in range(len(xs))]


@builtin
def correlation(site: CallSite, xs: Any, ys: Any) -> Deferred:
    """The Pearson correlation of two lists of numbers."""
    return Deferred(["correlation", expression(xs, site.location), expression(ys, site.location)])


def plain_int(site: CallSite, name: str, value: Any) -> int:
    """An argument that must be an int known now."""
    if not isinstance(value, int) or isinstance(value, bool):
        what = f"'{name}' of '{site.name}'"
        if isinstance(value, Deferred):
            raise faults.after_the_run(what, site.at(name))
        raise faults.wrong_kind(
            what, "an int", str(value) if isinstance(value, Quantity) else describe(value), site.at(name)
        )
    return value
