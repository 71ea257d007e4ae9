"""Lists and tensors of positions inside of brackets: `x[[0, 2]]`, `x[:, places]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etude.compiler import faults
from etude.compiler.diagnostics import Location, Related
from etude.compiler.session import Session
from etude.compiler.tracing import call_operation
from etude.compiler.values import Tensor

Item = tuple[Any, ...]
USING = {"slice", "index", "at"}


def check_positions(index: Tensor, location: Location) -> None:
    """Refuse a mask: how many entries it keeps shows only while the program runs."""
    if index.type.dtype == "bool":
        help = (
            "where(mask, x, 0) keeps the shape, sum(where(mask, x, 0)) / sum(mask) is a mean; filter(d, ...) keeps rows"
        )
        if not index.type.rank:
            help = "write x[int(condition)] for the entry 0 or 1"
        made = [Related(index.location, f"it is made here, as {index.type}")] if index.location != location else []
        raise faults.wrong_kind("an index", "positions, as ints", str(index.type), location, help, made)


def take_positions(
    session: Session, value: Tensor, items: Sequence[Item], location: Location
) -> tuple[Tensor, list[Item]]:
    """The tensor with the entries picked at lists of positions, and the items that are left to pick."""
    listed = [i for i, item in enumerate(items) if item[0] == "at"]
    if not listed:
        return value, list(items)
    if len(listed) > 1:
        text = "one list of positions can stand in brackets: it is not clear how two would go together"
        raise faults.wrong_value(text, location, "x[rows][:, columns] picks from both axes; take_along goes in step")
    if any(item[0] == "index" for item in items):
        text = "a single position does not stand beside a list of them"
        raise faults.wrong_value(text, location, "pick one after the other: x[0][:, [1, 2]]")
    (place,) = listed
    axis = _axis(value, items, place, location)
    index = _as_tensor(session, value, items[place][1], axis, location)
    taken = call_operation(session, "take", [value, index], {"axis": axis}, location)
    whole = [("slice", None, None)] * index.type.rank
    return taken, [*items[:place], *whole, *items[place + 1 :]]


def _axis(value: Tensor, items: Sequence[Item], place: int, location: Location) -> int:
    used = sum(item[0] in USING for item in items)
    axis = 0
    for item in items[:place]:
        axis += value.type.rank - used if item[0] == "ellipsis" else item[0] in USING
    if used > value.type.rank or axis >= value.type.rank:
        text = f"{used} positions are given for the {value.type.rank} axes of {value.type}"
        raise faults.wrong_shape("slice", text, location, (), None)
    return axis


def _as_tensor(session: Session, value: Tensor, index: Any, axis: int, location: Location) -> Tensor:
    if isinstance(index, Tensor):
        return index
    dim = value.type.shape[axis]
    found = []
    for position in index:
        if isinstance(dim, int):
            if not -dim <= position < dim:
                text = f"index {position} is out of range for axis {axis} of {value.type}, which has {dim}"
                raise faults.wrong_shape("slice", text, location, (), None)
            position %= dim
        elif position < 0:
            text = f"a position from the end of axis {axis} of {value.type}, whose length depends on the batch"
            raise faults.wrong_value(text, location, "turn it round: x[::-1]")
        found.append(position)
    result = call_operation(session, "tensor", [found], {}, location)
    assert isinstance(result, Tensor)
    return result
