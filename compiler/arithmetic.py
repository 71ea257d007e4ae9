"""Operators on every kind of value: numbers, units, dimensions, lists, datasets, deferred values and tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from etude.backends.program.dims import Size, divide
from etude.compiler import comparing, faults, limits
from etude.compiler.diagnostics import Location
from etude.compiler.session import Session
from etude.compiler.tracing import apply_operation
from etude.compiler.units import spelled
from etude.compiler.values import (
    Bytes,
    Dataset,
    Deferred,
    DeferredList,
    Made,
    Measured,
    Model,
    Quantity,
    Record,
    Tensor,
    TextColumn,
    TextValue,
    Tree,
    describe,
)

ROWS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod", "**": "pow", "@": "matmul",
    "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne", "and": "and", "or": "or",
}  # fmt: skip
NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
TENSORS = (Tensor, Measured, Made)
TRACED = {(Tensor, Tensor), (Tensor, int), (Tensor, float), (int, Tensor), (float, Tensor)}
PLAIN = {(int, int), (int, float), (float, int), (float, float)}
COMPARISONS = comparing.COMPARISONS


def binary(session: Session, symbol: str, left: Any, right: Any, location: Location) -> Any:
    """`left symbol right`; `and` and `or` of plain booleans are decided by the caller."""
    kinds = (type(left), type(right))
    if kinds in TRACED:  # most that are evaluated, before a long search
        return tensor_operation(session, ROWS[symbol], [left, right], location)
    if kinds in PLAIN and symbol in NUMBERS:
        return _numbers(symbol, left, right, location)
    if symbol in {"==", "!="} and (left is None or right is None):
        return (left is right) == (symbol == "==")
    if isinstance(left, TextColumn | TextValue) or isinstance(right, TextColumn | TextValue):
        from etude.compiler.texts import text_operator

        return text_operator(session.frame, symbol, left, right, location)
    if isinstance(left, Model) or isinstance(right, Model):
        from etude.compiler.computed import arithmetic

        return arithmetic(session, symbol, left, right, location)
    if isinstance(left, Tree) or isinstance(right, Tree):
        if symbol == "@":
            raise faults.wrong_kind("'@'", "two tensors", f"{describe(left)} and {describe(right)}", location)
        from etude.compiler.trees import combine

        return combine(session, ROWS[symbol], [left, right], location)
    if isinstance(left, TENSORS) or isinstance(right, TENSORS):
        return tensor_operation(session, ROWS[symbol], [left, right], location)
    if isinstance(left, Deferred) or isinstance(right, Deferred):
        limits.spend(session, limits.STEPS_OF_A_SUM, session.place(location))
        return deferred(symbol, left, right, location)
    if isinstance(left, Bytes) or isinstance(right, Bytes):
        left, right = _in_bytes(left, right), _in_bytes(right, left)
    if is_number(left) and is_number(right) and symbol in NUMBERS:
        return _counted(symbol, left, right, _numbers(symbol, left, right, location))
    if isinstance(left, Quantity) or isinstance(right, Quantity):
        return _quantities(symbol, left, right, location)
    if isinstance(left, Size | int) and isinstance(right, Size | int) and not isinstance(left, bool):
        return _sizes(symbol, left, right, location)
    if isinstance(left, Dataset) and isinstance(right, Dataset) and symbol in {"+", "-"}:
        from etude.compiler.builtins.data import subtract, union

        return union(session, left, right, location) if symbol == "+" else subtract(session, left, right, location)
    if symbol in {"==", "!="} and type(left) is type(right) and isinstance(left, bool | str):
        return (left == right) == (symbol == "==")
    if symbol == "+" and isinstance(left, list) and isinstance(right, list):
        limits.check_list(session, len(left) + len(right), location)
        return left + right
    if symbol == "+" and isinstance(left, str) and isinstance(right, str):
        limits.check_text(session, len(left) + len(right), location)
        return left + right
    if symbol in {"+", "-"} and isinstance(left, Record):
        from etude.compiler.builtins.each_split import combined

        found = combined(session, symbol, left, right, location)
        if found is not None:
            return found
    if symbol == "+" and isinstance(left, Record) and isinstance(right, Record):
        return Record({**left, **right})
    if symbol in {"==", "!="}:
        found = comparing.compared(session, symbol, left, right, location)
        if found is not None:
            return found
    raise comparing.refused(symbol, left, right, location)


def negate(session: Session, value: Any, location: Location) -> Any:
    if isinstance(value, Model):
        from etude.compiler.computed import negated

        return negated(session, value, location)
    if isinstance(value, Tree):
        from etude.compiler.trees import combine

        return combine(session, "neg", [value], location)
    if isinstance(value, TENSORS):
        return tensor_operation(session, "neg", [value], location)
    if isinstance(value, Deferred):
        return Deferred(["neg", value.expression], dtype=value.dtype, unit=value.unit)
    if isinstance(value, Quantity):
        return Quantity(-value.value, value.unit)
    if is_number(value) or isinstance(value, Size):
        return -value
    raise faults.wrong_kind("'-'", "a number or a tensor", describe(value), location)


def tensor_operation(session: Session, name: str, values: list[Any], location: Location) -> Any:
    """An operation on tensors of the function being traced, or outside of one on those known after the run."""
    if session.frame is not None:
        return apply_operation(session, name, values, {}, location)
    from etude.compiler.measured import operated

    return operated(session, values, {}, lambda given, _: apply_operation(session, name, given, {}, location), location)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def deferred(symbol: str, left: Any, right: Any, location: Location) -> Deferred:
    """An operator on a value known after the run."""
    if symbol not in ROWS or symbol == "@":
        raise faults.wrong_kind(f"'{symbol}'", "tensors", "a value known after the run", location)
    unit = _unit_of_result(symbol, left, right)
    if isinstance(left, Quantity) or isinstance(right, Quantity):
        left, right = _without_units(symbol, left, right, location)
    for side in (left, right):
        if isinstance(side, DeferredList):
            help = "take its elements: [f(x) for x in xs]"
            raise faults.wrong_kind(f"'{symbol}'", "numbers or tensors", describe(side), location, help)
        if isinstance(side, Deferred) and side.kind == "text" and symbol not in {"==", "!="}:
            raise faults.wrong_kind(f"'{symbol}'", "numbers", "a text known after the run", location)
    kind = "bool" if symbol in COMPARISONS or symbol in {"and", "or"} else "number"
    is_whole = symbol in {"+", "-", "*", "//", "%"} and _is_whole(left) and _is_whole(right)
    sides = [expression(left, location), expression(right, location)]
    return Deferred([ROWS[symbol], *sides], kind, "int32" if is_whole else "float32", unit)


def _without_units(symbol: str, left: Any, right: Any, location: Location) -> tuple[Any, Any]:
    """A quantity as a number, where it meets a measured value of its unit."""
    units = [side.unit if isinstance(side, Quantity | Deferred) else None for side in (left, right)]
    if units[0] != units[1] or symbol not in COMPARISONS | {"+", "-", "/"}:
        raise faults.wrong_unit(symbol, _unit(left), _unit(right), location)
    found = [side.value if isinstance(side, Quantity) else side for side in (left, right)]
    return found[0], found[1]


def _unit_of_result(symbol: str, left: Any, right: Any) -> str | None:
    """The unit of what is computed with a measured quantity: twice a time is one, a share of a time is none."""
    units = [side.unit if isinstance(side, Quantity | Deferred) else None for side in (left, right)]
    if symbol in {"+", "-"}:
        return units[0] if units[0] == units[1] else None
    if symbol == "*":
        return (units[0] or units[1]) if None in units else None
    return units[0] if symbol == "/" and units[1] is None else None


def _in_bytes(value: Any, other: Any) -> Any:
    """A number of bytes as a quantity where it meets one."""
    return Quantity(int(value), "bytes") if isinstance(value, Bytes) and isinstance(other, Quantity) else value


def _counted(symbol: str, left: Any, right: Any, result: Any) -> Any:
    """What a number of bytes is after arithmetic: still one if it is scaled by a whole number, or one of a sum."""
    sides = isinstance(left, Bytes) + isinstance(right, Bytes)
    keeps = (sides == 2 and symbol in {"+", "-"}) or (sides == 1 and symbol in {"*", "//"})
    return Bytes(result) if keeps and isinstance(result, int) else result


def _is_whole(value: Any) -> bool:
    return value.dtype == "int32" if isinstance(value, Deferred) else isinstance(value, int)


def expression(value: Any, location: Location) -> Any:
    """A value as an expression that the runtime evaluates."""
    if isinstance(value, Deferred):
        return limits.check_expression(value.expression, location)
    if value is None or isinstance(value, bool | int | float):
        return ["number", value]
    if isinstance(value, str):
        return ["text", value]
    if isinstance(value, list):
        return ["list", [expression(item, location) for item in value]]
    if isinstance(value, Record):
        return ["record", {name: expression(item, location) for name, item in value.items()}]
    help = "make one number of it: mean(x), x[0], ..." if isinstance(value, Measured) else None
    raise faults.wrong_kind(
        "a computed value", "numbers and values known after the run", describe(value), location, help
    )


def _numbers(symbol: str, left: Any, right: Any, location: Location) -> Any:
    if symbol == "**":
        limits.check_power(left, right, location)
    try:
        result = NUMBERS[symbol](left, right)
    except ZeroDivisionError:
        raise faults.wrong_value("division by zero", location) from None
    except OverflowError:
        raise faults.wrong_value("the result is too large for a number", location) from None
    limits.check_integer(result, location)
    if isinstance(result, complex):
        raise faults.wrong_value("the result is not a real number", location)
    return result


def _quantities(symbol: str, left: Any, right: Any, location: Location) -> Any:
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        if left.unit != right.unit:
            raise faults.wrong_unit(symbol, _unit(left), _unit(right), location)
        if symbol in COMPARISONS or symbol == "/":
            return _numbers(symbol, left.value, right.value, location)
        if symbol in {"+", "-"}:
            return Quantity(_numbers(symbol, left.value, right.value, location), left.unit)
    elif symbol in {"*", "/", "//"} and isinstance(left, Quantity) and is_number(right):
        return Quantity(_numbers(symbol, left.value, right, location), left.unit)
    elif symbol == "*" and is_number(left) and isinstance(right, Quantity):
        return Quantity(_numbers(symbol, left, right.value, location), right.unit)
    raise faults.wrong_unit(symbol, _unit(left), _unit(right), location)


def _unit(value: Any) -> str:
    if isinstance(value, Deferred) and value.unit:
        return f"{describe(value)}, in {value.unit}"
    return f"{spelled(value)} (a quantity in {value.unit})" if isinstance(value, Quantity) else describe(value)


def _sizes(symbol: str, left: Any, right: Any, location: Location) -> Any:
    if symbol in {"+", "-", "*"}:
        result = NUMBERS[symbol](left, right)
        if isinstance(result, Size) and len(result.coefficients) > limits.MAX_POWERS + 1:
            raise faults.wrong_value("this dimension grows too fast with the batch", location)
        limits.check_integer(result, location)
        return result
    if symbol == "//" and right != 0:
        quotient = divide(left, right)
        if quotient is not None:
            return quotient
        raise faults.wrong_value(f"{left} is not divisible by {right} for every batch size b", location)
    if symbol in {"==", "!="}:
        return (left == right) == (symbol == "==")
    raise faults.wrong_value(f"'{symbol}' of dimensions that depend on the batch ({left}, {right})", location)
