"""Operations on plain numbers, lists of them, and values known after the run, under the names of tensor operations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from etude.compiler import faults
from etude.compiler.arithmetic import binary, expression, is_number
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.comparing import plain_list
from etude.compiler.measured import rows_of
from etude.compiler.values import Bytes, Chain, Deferred, Made, Measured, Quantity, Record, describe


def _mean(items: list[Any]) -> float:
    return math.fsum(items) / len(items)


def _std(items: list[Any]) -> float:
    center = _mean(items)
    return math.sqrt(_mean([(item - center) ** 2 for item in items]))


def _var(items: list[Any]) -> float:
    center = _mean(items)
    return _mean([(item - center) ** 2 for item in items])


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


MOST_FACTORS = 64
"""That are multiplied as integers: the digits of more could fill the memory."""
REDUCTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "mean": _mean, "sum": sum, "min": min, "max": max, "std": _std,
    "all": all, "any": any,
}  # fmt: skip
MEASURED = {"std": "deviation"}
"""What the runtime calls a reduction, where its name once meant something else (divided by n - 1)."""
LISTS: dict[str, Callable[[list[Any]], Any]] = {
    "var": _var, "prod": lambda xs: math.prod(map(float, xs)) if len(xs) > MOST_FACTORS else math.prod(xs),
    "argmax": lambda xs: xs.index(max(xs)), "argmin": lambda xs: xs.index(min(xs)),
    "sort": sorted, "argsort": lambda xs: sorted(range(len(xs)), key=xs.__getitem__),
    "cumsum": lambda xs: list(itertools.accumulate(xs)), "flip": lambda xs: xs[::-1],
}  # fmt: skip
"""Of plain numbers, outside of traced functions."""
UNARY: dict[str, Callable[[Any], Any]] = {
    "abs": abs, "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "floor": math.floor, "round": round,
    "square": lambda x: x * x, "int": int, "float": float, "sin": math.sin, "cos": math.cos,
}  # fmt: skip
OUTSIDE: dict[str, Callable[[Any], Any]] = {
    "neg": lambda x: -x, "sign": lambda x: (x > 0) - (x < 0), "log1p": math.log1p, "erf": math.erf, "bool": bool,
    "rsqrt": lambda x: 1 / math.sqrt(x), "tanh": math.tanh, "sigmoid": _sigmoid, "softplus": _softplus,
    "relu": lambda x: max(x, 0),
}  # fmt: skip
"""These are operations of the program inside of a traced function."""
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
    positional = [list(v) if isinstance(v := plain_list(value), range) else v for value in positional]
    is_outside = site.session.frame is None
    if len(positional) == 1 and isinstance(positional[0], list) and (name in REDUCTIONS or is_outside):
        return _of_list(name, positional[0], site)
    if is_outside and name in OUTSIDE and len(positional) == 1 and is_number(positional[0]):
        return _compute(name, OUTSIDE[name], positional, site)
    if name in UNARY and len(positional) == 1 and is_number(positional[0]):
        return _compute(name, UNARY[name], positional, site)
    is_late = (name, len(positional)) in LATE and any(isinstance(v, Deferred) for v in positional)
    if is_late and all(isinstance(v, Deferred | bool | int | float) for v in positional):
        unit = _unit(name, positional)
        return Deferred([LATE[name, len(positional)], *(expression(v, site.location) for v in positional)], unit=unit)
    if name in EXTREMES and len(positional) == 2 and all(map(_is_plain, positional)):
        return _extreme(name, positional, site)
    if is_outside and name == "clip" and len(positional) == 3 and all(map(is_number, positional)):
        return min(max(positional[0], positional[1]), positional[2])
    if is_outside and name == "where" and len(positional) == 3 and isinstance(positional[0], bool):
        return positional[1] if positional[0] else positional[2]
    return None


def _is_plain(value: Any) -> bool:
    return is_number(value) or isinstance(value, Quantity)


def _extreme(name: str, values: list[Any], site: CallSite) -> Any:
    """The smaller or the larger of two numbers, or of two quantities of one unit."""
    is_less = binary(site.session, "<", values[0], values[1], site.location)
    return values[0] if is_less == (name in {"min", "minimum"}) else values[1]


def _compute(name: str, function: Callable[..., Any], values: list[Any], site: CallSite) -> Any:
    try:
        return function(*values)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise faults.wrong_value(f"'{name}' of {values[0]}: {error}", site.location) from None


def _of_list(name: str, items: list[Any], site: CallSite) -> Any:
    if name not in REDUCTIONS and name not in LISTS:
        return None
    if name in LISTS:  # inside, they are operations on a stacked tensor
        return LISTS[name](items) if items and all(isinstance(item, bool | int | float) for item in items) else None
    if any(isinstance(item, Measured | Made) for item in items):
        return None
    if any(isinstance(item, Deferred) for item in items):
        kind = "bool" if name in {"all", "any"} else "number"
        return Deferred([MEASURED.get(name, name), expression(items, site.location)], kind, unit=_unit(name, items))
    if not items and name == "sum":
        return 0.0
    if not items:
        raise faults.wrong_value(f"'{name}' of an empty list", site.location)
    if all(isinstance(item, bool | int | float) for item in items):
        found = REDUCTIONS[name](items)
        return Bytes(found) if name == "sum" and all(isinstance(item, Bytes) for item in items) else found
    if site.session.frame is not None:
        return None
    first = next(item for item in items if not isinstance(item, bool | int | float))
    raise faults.wrong_kind(f"'{name}'", "a list of numbers", f"a list with {describe(first)}", site.location)


def _unit(name: str, items: list[Any]) -> str | None:
    """The unit of a mean, a sum or an extreme of measured values of one unit."""
    units = {item.unit if isinstance(item, Deferred) else None for item in items}
    is_kept = len(units) == 1 and name in {"mean", "sum", "min", "max", "minimum", "maximum", "std", "abs"}
    return units.pop() if is_kept else None


@builtin
def len_(site: CallSite, xs: Any) -> int:
    """The number of elements of a list, a range or the blocks of a model, or of the characters of a string."""
    found = list(xs.parts) if isinstance(xs, Chain) else plain_list(xs)
    if not isinstance(found, list | range | str):
        raise faults.wrong_kind("'len'", "a list", describe(xs), site.at("xs"))
    return len(found)


@builtin
def string(site: CallSite, x: Any) -> str:
    """A number, a truth value or a quantity as a text: `"width " + string(64)`."""
    if isinstance(x, Deferred):
        raise faults.after_the_run("a text made of this value", site.at("x"))
    if isinstance(x, str):
        return x
    if isinstance(x, bool):
        return "true" if x else "false"
    if not isinstance(x, int | float | Quantity):
        raise faults.wrong_kind("'string'", "a number, a truth value or a quantity", describe(x), site.at("x"))
    return f"{x:g}" if isinstance(x, float) else str(x)


@builtin
def zip_(site: CallSite, columns: Any) -> list[Record]:
    """A list of records from a record of lists of one length; a measured tensor is the list of its first axis."""
    if isinstance(columns, Record):
        columns = {name: rows_of(site, v) if isinstance(v, Measured) else v for name, v in columns.items()}
        columns = Record(columns)
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
