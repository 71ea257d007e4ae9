"""Expressions over measured values: what `compute`, `claim` and `table` stages evaluate. JSON in, JSON out.

A missing value (None: a measure over no rows, a loss that was not finite) spreads through arithmetic; logic is
three-valued (Kleene), so `false and missing` is false.
"""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from etude.runtime.bootstrap import compare

Json = Any


class ExpressionError(Exception):
    """An expression has no value for these inputs."""

    def __init__(self, operation: str, message: str) -> None:
        super().__init__(f"{operation}: {message}")
        self.operation, self.message = operation, message


@dataclass
class Evaluation:
    """Evaluates expressions over the values of a stage's inputs; `comparisons` collects what `better` found.

    >>> Evaluation([0.75]).value(["gt", ["mul", ["input", 0], ["number", 2]], ["number", 1]])
    True
    """

    inputs: Sequence[Json]
    comparisons: list[dict[str, Json]] = field(default_factory=list)

    def value(self, expression: Sequence[Json]) -> Json:
        """The value of an expression: a number, truth value, text, list, record, or None. Raises `ExpressionError`."""
        match expression:
            case ["number" | "text" | "bool", value]:
                return value
            case ["none"]:
                return None
            case ["input", index]:
                return self.inputs[index]
            case ["field", inner, name]:
                return _field(self.value(inner), name)
            case ["at", inner, index]:
                return _item(self.value(inner), index)
            case ["list", items]:
                return [self.value(item) for item in items]
            case ["record", items]:
                return {name: self.value(item) for name, item in items.items()}
            case ["if", condition, then, otherwise]:
                return self.value(then if self.value(condition) is True else otherwise)
            case ["better", first, second, options]:
                return self._better(self.value(first), self.value(second), **options)
            case [name, *operands]:
                return _apply(name, [self.value(operand) for operand in operands])
        raise ExpressionError("expression", f"not understood: {expression}")

    def _better(self, first: Json, second: Json, confidence: float = 0.95, lower: bool = False) -> bool | None:
        for side in (first, second):
            if not isinstance(side, list):
                raise ExpressionError("better", f"expected two lists of runs, got {_kind(side)}")
        try:
            comparison = compare(first, second, confidence, lower=lower)
        except ValueError as error:
            raise ExpressionError("better", str(error)) from error
        self.comparisons.append(comparison.to_json())
        return comparison.verdict


def _apply(name: str, values: list[Json]) -> Json:
    if name in LOGIC:
        return LOGIC[name](_listed(values))
    if name == "correlation":
        return _correlation(*values)
    if name == "pareto":
        return _pareto(*values)
    if name in LISTS:
        return _over_list(name, values)
    if name not in SCALARS:
        raise ExpressionError(name, "no such operation on measured values")
    if name in {"eq", "ne"}:
        return None if None in values else SCALARS[name](*values)
    return _elementwise(name, values)


def _elementwise(name: str, values: list[Json]) -> Json:
    """Apply to numbers; lists are taken element by element, a number with each element."""
    lengths = {len(value) for value in values if isinstance(value, list)}
    if not lengths:
        return _scalar(name, values)
    if len(lengths) > 1:
        raise ExpressionError(name, f"lists of different lengths: {sorted(lengths)}")
    columns = [value if isinstance(value, list) else [value] * lengths.copy().pop() for value in values]
    return [_elementwise(name, list(items)) for items in zip(*columns, strict=True)]


def _scalar(name: str, values: list[Json]) -> Json:
    if None in values:
        return None
    if not all(isinstance(value, (int, float)) for value in values):
        raise ExpressionError(name, f"expected numbers, got {' and '.join(_kind(value) for value in values)}")
    try:
        return _finite(SCALARS[name](*values))
    except (ZeroDivisionError, ValueError):
        return None
    except OverflowError as error:
        raise ExpressionError(name, "the result is too large") from error


def _over_list(name: str, values: list[Json]) -> Json:
    items = _listed(values)
    if None in items:
        return None
    if not all(isinstance(item, (int, float)) for item in items):
        raise ExpressionError(name, f"expected a list of numbers, got one with {_kind(items[0])}")
    return LISTS[name](items)


def _listed(values: list[Json]) -> list[Json]:
    """The elements that a function of a list is given: as one list, or one by one."""
    return values[0] if len(values) == 1 and isinstance(values[0], list) else values


def _field(value: Json, name: str) -> Json:
    """A field of a record; of a list of records, the list of the fields."""
    if value is None:
        return None
    if isinstance(value, list):
        return [_field(item, name) for item in value]
    if not isinstance(value, Mapping) or name not in value:
        raise ExpressionError(f'field "{name}"', f"not in {_kind(value)}")
    return value[name]


def _item(value: Json, index: int) -> Json:
    if value is None:
        return None
    if not isinstance(value, list) or not -len(value) <= index < len(value):
        raise ExpressionError("[]", f"no element {index} in {_kind(value)}")
    return value[index]


def _kind(value: Json) -> str:
    names = {bool: "a truth value", int: "a number", float: "a number", str: "a text", type(None): "no value"}
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"a record of {', '.join(value)}" if isinstance(value, Mapping) else names[type(value)]


def _finite(value: Json) -> Json:
    """None where there is no real number: an overflow, an even root of a negative number."""
    is_real = not isinstance(value, complex) and (isinstance(value, int) or math.isfinite(value))
    return value if is_real else None


def _all(values: Sequence[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _any(values: Sequence[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def _not(values: Sequence[bool | None]) -> bool | None:
    return None if values[0] is None else not values[0]


def _pareto(rows: Sequence[Sequence[float | None]]) -> list[bool | None]:
    """Whether each row is on the front: no other is as good everywhere and better somewhere. None without a value.

    >>> _pareto([[1, 2], [2, 1], [1, 1], [1, None]])
    [True, True, False, None]
    """
    known = [row for row in rows if None not in row]

    def is_beaten(row: Sequence[Any]) -> bool:
        return any(other != row and all(b >= a for a, b in zip(row, other, strict=True)) for other in known)

    return [None if None in row else not is_beaten(row) for row in rows]


def _rank(values: Sequence[float]) -> list[float]:
    """Ranks from 1 for the smallest; equal values share the mean of their ranks."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) + 1) / 2 for value in values]


def _correlation(first: Json, second: Json) -> float | None:
    """Pearson's; None where a value is missing or one side is constant."""
    for side in (first, second):
        if not isinstance(side, list):
            raise ExpressionError("correlation", f"expected two lists, got {_kind(side)}")
    if len(first) != len(second):
        raise ExpressionError("correlation", f"lists of different lengths: {len(first)} and {len(second)}")
    if None in first or None in second or len(first) < 2:
        return None
    try:
        return statistics.correlation(first, second)
    except statistics.StatisticsError:
        return None


SCALARS: Mapping[str, Callable[..., Json]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "pow": operator.pow,
    "neg": operator.neg,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "abs": abs,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "square": lambda value: value * value,
    "floor": lambda value: float(math.floor(value)),
    "round": lambda value: float(round(value)),
    "int": int,
    "float": float,
}
LISTS: Mapping[str, Callable[[Sequence[float]], Json]] = {
    "mean": lambda values: math.fsum(values) / len(values) if values else None,
    "deviation": lambda values: statistics.pstdev(values) if values else None,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "sum": math.fsum,
    "rank": _rank,
}
LOGIC: Mapping[str, Callable[[Sequence[bool | None]], bool | None]] = {
    "and": _all,
    "all": _all,
    "or": _any,
    "any": _any,
    "not": _not,
}
