"""`==` and `!=` of lists and records, element by element, and what operators are refused on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etude.compiler import faults, limits
from etude.compiler.diagnostics import Location, RecipeError
from etude.compiler.session import Session
from etude.compiler.values import Dataset, Deferred, Quantity, Range, Record, describe

TAKES = {
    "+": "two numbers, tensors, lists, strings or datasets",
    "-": "two numbers, tensors or datasets",
    "==": "two values of one kind",
    "!=": "two values of one kind",
}
COMPARISONS = {"<", "<=", ">", ">=", "==", "!="}


def plain_list(value: Any) -> Any:
    """A range of ints as the list that it stands for; anything else as it is."""
    if isinstance(value, Range) and isinstance(value.start, int) and isinstance(value.stop, int):
        return value.items() if value.stop - value.start < limits.MAX_ITEMS else value
    return value


def compared(session: Session, symbol: str, left: Any, right: Any, location: Location) -> Any:
    """Whether two lists or records are alike: a bool, or a value known after the run; None for other values."""
    pairs = _pairs(left, right)
    if pairs is None:
        return None
    found = _all_alike(session, pairs, location) if isinstance(pairs, list) else False
    if isinstance(found, Deferred):
        return found if symbol == "==" else Deferred(["not", found.expression], "bool")
    return found == (symbol == "==")


def _pairs(left: Any, right: Any) -> list[tuple[Any, Any]] | bool | None:
    """What must be alike for two structures to be; False where they differ in form, None where they are none."""
    left, right = plain_list(left), plain_list(right)
    if isinstance(left, Record) and isinstance(right, Record):
        if any(isinstance(value, Dataset) for value in (*left.values(), *right.values())):
            return None
        return [(left[name], right[name]) for name in left] if set(left) == set(right) else False
    if isinstance(left, list | range) and isinstance(right, list | range):
        return list(zip(left, right, strict=True)) if len(left) == len(right) else False
    return None


def _all_alike(session: Session, pairs: Sequence[tuple[Any, Any]], location: Location) -> Any:
    from etude.compiler.arithmetic import binary, deferred

    limits.check_list(session, len(pairs), location)
    result: Any = True
    for left, right in pairs:
        found = binary(session, "==", left, right, location)
        if found is False:
            return False
        if not isinstance(found, bool | Deferred):
            raise refused("==", left, right, location)
        if isinstance(found, Deferred):
            result = found if result is True else deferred("and", result, found, location)
    return result


def refused(symbol: str, left: Any, right: Any, location: Location) -> RecipeError:
    """The fault of an operator between values that it does not take."""
    kinds = f"{describe(left)} and {describe(right)}"
    return faults.wrong_kind(
        f"'{symbol}'", TAKES.get(symbol, "two numbers or tensors"), kinds, location, _help(symbol, left, right)
    )


def _help(symbol: str, left: Any, right: Any) -> str | None:
    if symbol in COMPARISONS and isinstance(left, list) != isinstance(right, list):
        return "compare one number of the list, mean(...) or min(...), or two lists with better(...)"
    if symbol == "+" and isinstance(left, str) != isinstance(right, str):
        other = right if isinstance(left, str) else left
        if isinstance(other, bool | int | float | Quantity):
            return f'string(...) makes a text of a number: "..." + string({other})'.replace("True", "true")
    if symbol in {"*", "/", "-", "**", "//", "%"} and isinstance(left, list) != isinstance(right, list):
        return "make a tensor of it, tensor(xs), or a new list, [2 * x for x in xs]"
    return None
