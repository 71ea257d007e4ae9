"""Positions that are known before the run, and lie outside of what they are looked up in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etude.backends.program.ir import Literal, Op, Operand, Value
from etude.compiler import faults
from etude.compiler.diagnostics import Location, Related
from etude.compiler.values import Tensor
from etude.compiler.vocabularies import KEEPING, numbers_in

if TYPE_CHECKING:
    from etude.compiler.tracing import Frame

WRAPPING = {"take", "gather", "take_along"}
"""Operations that count negative positions from the end."""

PICKED = {name: places for name, places in KEEPING.items() if name != "where"}
"""A class that is none is a row of zeros: who writes `where` for the classes of `one_hot` may want that."""


def check_lookup(
    frame: Frame, name: str, values: Sequence[Any], attributes: Mapping[str, Any], location: Location
) -> None:
    """Refuse plain numbers at which nothing stands, labels of more classes than there are entries, and tokens without
    an entry."""
    room, index = _room(name, values, attributes), values[0 if name == "one_hot" else 1]
    if room is None or (name == "cross_entropy" and "where" in attributes.get("has", ())):
        return
    lowest = -room if name in WRAPPING else 0 if name != "one_hot" else -1
    for low, high in _ranges(frame, index, PICKED if name == "one_hot" else KEEPING):
        if low < lowest or high >= room:
            raise _outside(name, low if low < lowest else high, room, values, location)
    if name in {"embedding", "take", "gather"} and isinstance(index, Tensor):
        _check_table(frame, name, index, room, location)


def _room(name: str, values: Sequence[Any], attributes: Mapping[str, Any]) -> int | None:
    """How many positions there are, if that is a number."""
    if name == "one_hot":
        dim = attributes["classes"]
    elif not isinstance(values[0], Tensor) or not values[0].type.rank or len(values) < 2:
        return None
    else:
        shape = values[0].type.shape
        axis = {"cross_entropy": -1, "embedding": 0, "gather": 0}.get(name, attributes.get("axis", 0))
        dim = shape[axis] if -len(shape) <= axis < len(shape) else None
    return dim if isinstance(dim, int) else None


def _outside(name: str, position: int, room: int, values: Sequence[Any], location: Location) -> Exception:
    if name == "one_hot":
        text = f"class {position} is out of range: there are {room}"
    elif name == "cross_entropy":
        text = f"label {position} is out of range: the logits {values[0].type} are of {room}"
    elif name == "embedding":
        text = f"id {position} is out of range: the table {values[0].type} has {room} entries"
    else:
        text = f"index {position} is out of range: the axis of {values[0].type} has {room}"
    places = [Related(v.location, f"this is {v.type}") for v in values[:1] if isinstance(v, Tensor)]
    help = f"they count from 0 to {room - 1}" if room > 1 else None
    return faults.wrong_shape(name, text, location, places, help)


def _check_table(frame: Frame, name: str, index: Tensor, room: int, location: Location) -> None:
    what = "the table" if name == "embedding" else "what it is taken from"
    if index.classes is not None and index.classes > room:
        raise faults.small_vocabulary(what, room, index.classes, "", location)
    if frame.vocabularies:
        from etude.compiler.vocabularies import sources_in

        for source in sources_in(frame, index):
            known = frame.vocabularies.get(source.value)
            if known is not None and known.size > room:
                raise faults.small_vocabulary(what, room, known.size, known.name, location)


def _ranges(frame: Frame, value: Any, keeping: Mapping[str, tuple[int, ...] | None]) -> Iterator[tuple[int, int]]:
    """The least and the largest of the plain numbers that an index is made of by operations that keep numbers."""
    if not isinstance(value, Tensor):
        yield from _plain(value)
        return
    given = {each.id for _, each in frame.builder.inputs}
    pending: set[int] = set()
    yield from _sorted_out(value.operand, pending, given)
    for op in reversed(frame.builder.ops):
        if not pending:
            return
        if any(result.id in pending for result in op.results):
            pending.difference_update(result.id for result in op.results)
            if op.name in keeping:
                places = keeping[op.name]
                for place in range(len(op.operands)) if places is None else places:
                    yield from _sorted_out(op.operands[place], pending, given)
            else:
                yield from _made(op)


def _sorted_out(operand: Operand, pending: set[int], given: set[int]) -> Iterator[tuple[int, int]]:
    if isinstance(operand, Literal):
        yield from _plain(operand.value)
    elif isinstance(operand, Value) and operand.id not in given:
        pending.add(operand.id)


def _plain(value: Any) -> Iterator[tuple[int, int]]:
    if isinstance(value, int):
        yield int(value), int(value)


def _made(op: Op) -> Iterator[tuple[int, int]]:
    if op.name == "tensor" and op.results[0].type.dtype == "int32":
        numbers = list(numbers_in(op.attrs["values"]))
        if numbers:
            yield min(numbers), max(numbers)
    elif op.name == "full" and isinstance(op.operands[0], Literal):
        yield from _plain(op.operands[0].value)
    elif op.name == "iota" and isinstance(op.attrs["n"], int):
        yield 0, op.attrs["n"] - 1
