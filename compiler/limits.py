"""Bounds of what expanding a recipe may take, counted and not timed: checking anybody's recipe ends soon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec import Struct

from etude.compiler import faults
from etude.compiler.diagnostics import Location, RecipeError
from etude.compiler.values import Record
from etude.grammar import nodes

Parts = TypeVar("Parts", list[Any], Record)
T = TypeVar("T", list[Any], Record)

STEPS = 600_000
"""Of evaluation: nodes of the tree, with what costs more counted as several."""
STEPS_PER_STAGE = 30_000
STEPS_OF_A_CALL, STEPS_OF_AN_OPERATION, STEPS_OF_A_MODEL = 5, 8, 100
STEPS_OF_A_SUM = 4
"""Of any arithmetic on values known after the run."""
MAX_ITEMS = 1_000_000
"""Of one list."""
MAX_PARTS = 300_000
"""Of one value known after the run."""
MAX_NESTED = 2_000_000
"""Of one value with those inside of it."""
MAX_CHARACTERS = 1_000_000
MAX_BITS = 1024
"""Of an integer, as of the largest floating point number."""
MAX_POWERS = 8
"""Of the batch size in one dimension."""
MAX_ELEMENTS = 2**48
"""Of one tensor, for each row of a batch."""
MAX_DEPTH = 50
"""Of models inside each other."""
MAX_LISTED = 10_000
"""Numbers of a measured tensor that stands in a table or a heat map."""


class Work(Struct):
    """The steps that were taken, and how many may be before it is asked again; `is_over` once that was reported."""

    spent: int = 0
    allowed: int = 0
    is_over: bool = False

    def stop(self) -> None:
        """Evaluate nothing more: something was reported that goes on without an end."""
        self.is_over, self.allowed = True, -1

    def refill(self, stages: int, location: Location) -> None:
        """Allow what the stages made so far justify. Raises RecipeError beyond it, Poisoned from then on."""
        if self.is_over:
            raise faults.Poisoned
        self.allowed = STEPS + STEPS_PER_STAGE * stages
        if self.spent <= self.allowed:
            return
        self.stop()
        raise too_much_work(location)


def spend(session: Any, steps: int, location: Location) -> None:
    """Count steps beside those of the tree: for what grows with its data."""
    work: Work = session.work
    work.spent += steps
    if work.spent > work.allowed:
        work.refill(len(session.stages.stages), location)


def count_elements(shape: Sequence[Any]) -> int:
    """The numbers of a tensor of this shape, at least, with one row in the batch; below 0 where a dimension is."""
    count, least = 1, 0
    for dim in shape:
        size = dim if isinstance(dim, int) else max(1, *dim.coefficients)
        count, least = count * size, min(least, size)
    return count if least == 0 else least


def check_list(session: Any, count: int, location: Location) -> None:
    """Refuse a list of too many items before it is made."""
    if count > MAX_ITEMS:
        raise faults.wrong_value(f"a list of {count:,} items is more than {MAX_ITEMS:,}", location)
    spend(session, count // 16, location)


def check_parts(session: Any, made: Parts, location: Location) -> Parts:
    """Refuse a list or record that holds others so often that going through it would never end: `b = [a, a]`, .."""
    known = session.memo.setdefault("parts of values", {})
    inner = [item for item in (made if isinstance(made, list) else made.values()) if type(item) in (list, Record)]
    if inner:
        count = len(made) + sum(known[id(item)][1] if id(item) in known else len(item) for item in inner)
        if count > MAX_NESTED:
            raise faults.wrong_value(f"this value has more than {MAX_NESTED:,} parts", location)
        known[id(made)] = made, count  # kept, so that its id stays its own
    return made


def check_text(session: Any, count: int, location: Location) -> None:
    """Refuse a text of too many characters before it is made."""
    if count > MAX_CHARACTERS:
        raise faults.wrong_value(f"a text of {count:,} characters is longer than {MAX_CHARACTERS:,}", location)
    spend(session, count // 256, location)


def check_power(left: Any, right: Any, location: Location) -> None:
    """Refuse a power of integers that would fill the memory, before it is computed."""
    if isinstance(left, int) and isinstance(right, int) and abs(left) > 1 and right * left.bit_length() > 4 * MAX_BITS:
        raise faults.wrong_value("the result is too large for a number", location)


def check_integer(value: Any, location: Location) -> None:
    """Refuse an integer that no floating point number comes near."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise faults.wrong_value("the result is too large for a number", location)


def check_expression(expression: Any, location: Location) -> Any:
    """Refuse a measured value made of so many that writing it down would never end: `b = a + a`, `c = b + b`, .."""
    stack, count = [expression], 0
    while stack:
        item = stack.pop()
        if isinstance(item, list | dict):
            count += 1
            if count > MAX_PARTS:
                raise faults.wrong_value(f"this value combines more than {MAX_PARTS:,} others", location)
            stack.extend(item.values() if isinstance(item, dict) else item)
    return expression


def too_much_work(location: Location) -> RecipeError:
    """More steps than an expansion may take."""
    help = "shorten ranges and loops; bind what is needed twice to a name, and use the name"
    text = "expanding this recipe takes too many steps"
    return faults.fault("E403", text, location, "the limit is passed here", help=help)


def too_many_elements(count: int, location: Location) -> RecipeError:
    """A comprehension that could not be expanded to its end."""
    text = f"this comprehension has {count:,} elements"
    return faults.fault("E403", text, location, "too many to expand", help="shorten its ranges")


def least_elements(node: nodes.Comprehension) -> int:
    """How many elements a comprehension, with those inside of it, has at least, as far as literal ranges tell.

    With a condition its combinations count: each has to be looked at.
    """
    total = 1
    for clause in node.clauses:
        total *= _length(clause.iterable)
    return total * max(1, _inside(node.element))


def _length(node: nodes.Expr) -> int:
    if isinstance(node, nodes.Binary) and node.operator == "..":
        ends = [
            side.value if isinstance(side, nodes.Number | nodes.Quantity) else None for side in (node.left, node.right)
        ]
        if isinstance(ends[0], int) and isinstance(ends[1], int):
            return max(0, ends[1] - ends[0] + 1)
    return 1


def _inside(node: Any) -> int:
    """The most elements of any comprehension below a node; functions that may never be called do not count."""
    from etude.compiler.checks.names import parts_of

    if isinstance(node, nodes.Comprehension):
        return least_elements(node)
    if isinstance(node, nodes.Lambda | nodes.Conditional):
        return 0
    items = node if type(node) is tuple else [getattr(node, name) for name in parts_of(type(node))]
    return max(map(_inside, items), default=0)
