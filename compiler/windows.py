"""Slices of tensors that start where a program says: `x[i:i + 8]`, of a length that is known before the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from etude.backends.program.dims import Dim, Size
from etude.backends.program.ir import Literal, Op, Operand, Value
from etude.compiler import faults
from etude.compiler.diagnostics import Location
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, apply_operation, call_operation
from etude.compiler.values import Tensor

Item = tuple[Any, ...]
HELP = "x[i:i + 8] has 8 entries; slice(x, start, length) takes the length"


def cut_windows(
    session: Session, value: Tensor, items: Sequence[Item], location: Location
) -> tuple[Tensor, list[Item]]:
    """The tensor with the parts cut out whose positions are tensors, and the items that are left to pick."""
    return _along_axes(session, value, items, location, lambda item: any(isinstance(p, Tensor) for p in item[1:]), _cut)


def take_steps(session: Session, value: Tensor, items: Sequence[Item], location: Location) -> tuple[Tensor, list[Item]]:
    """The tensor turned round along the axes that are walked backwards, and the items with steps above 0 alone."""
    return _along_axes(session, value, items, location, lambda item: len(item) == 4, _stepped)


def _along_axes(
    session: Session,
    value: Tensor,
    items: Sequence[Item],
    location: Location,
    is_meant: Callable[[Item], bool],
    take: Callable[[Session, Tensor, Item, int, Location], tuple[Tensor, Item]],
) -> tuple[Tensor, list[Item]]:
    """The tensor after `take` at the axes of some items, and what it leaves of these with all others."""
    used = sum(item[0] in {"slice", "index"} for item in items)
    left: list[Item] = []
    axis = 0
    for item in items:
        if item[0] == "ellipsis":
            axis += value.type.rank - used
        if is_meant(item):
            if axis >= value.type.rank:
                text = f"{used} positions are given for the {value.type.rank} axes of {value.type}"
                raise faults.wrong_shape("slice", text, location, (), None)
            value, item = take(session, value, item, axis, location)
        axis += item[0] in {"slice", "index"}
        left.append(item)
    return value, left


def _stepped(session: Session, value: Tensor, item: Item, axis: int, location: Location) -> tuple[Tensor, Item]:
    _, start, stop, step = item
    dim = value.type.shape[axis]
    if step == 1:
        return value, ("slice", start, stop)
    if any(isinstance(end, Tensor) for end in (start, stop)):
        raise faults.wrong_value("a slice with a step has ends that are known before the run", location, HELP)
    if not isinstance(dim, int):
        if step != -1 or start is not None or stop is not None:
            text = f"the length of this slice depends on how many entries axis {axis} of {value.type} has"
            raise faults.wrong_value(text, location, "of the batch, [::-1] is all that steps")
        return _flipped(session, value, axis, location), ("slice", None, None)
    places = range(*slice(start, stop, step).indices(dim))
    if not places:
        return value, ("slice", 0, 0)
    if step < 0:
        value, places = _flipped(session, value, axis, location), range(dim - 1 - places[0], dim - places[-1], -step)
    return value, ("slice", places[0], places[-1] + 1, abs(step)) if abs(step) > 1 else (
        "slice",
        places[0],
        places[-1] + 1,
    )


def _flipped(session: Session, value: Tensor, axis: int, location: Location) -> Tensor:
    result = call_operation(session, "flip", [value], {"axis": axis}, location)
    assert isinstance(result, Tensor)
    return result


def _cut(session: Session, value: Tensor, item: Item, axis: int, location: Location) -> tuple[Tensor, Item]:
    if item[0] == "index":
        return _window(session, value, item[1], 1, axis, location), ("index", 0)
    start, stop = item[1:]
    length = None if start is None or stop is None else _distance(session, start, stop)
    if length is None:
        text = "the length of this slice is not known before the run: its ends are not a fixed number apart"
        raise faults.wrong_value(text, location, HELP)
    return _window(session, value, start, length, axis, location), ("slice", None, None)


def _window(session: Session, value: Tensor, start: Any, length: Dim, axis: int, location: Location) -> Tensor:
    attributes = {"length": length, "axis": axis}
    result = apply_operation(session, "slice_at", [value, start], attributes, location)
    assert isinstance(result, Tensor)
    return result


# --- how far apart two numbers of a program are ---

Form = dict[int, Dim]
"""A sum of values, each with its factor; the key -1 has the plain number."""


def _distance(session: Session, start: Any, stop: Any) -> Dim | None:
    """The number that lies between two positions, if they differ by a number."""
    frame = session.frame
    assert frame is not None
    low, high = _form(frame, start), _form(frame, stop)
    gaps = {key: high.get(key, 0) - low.get(key, 0) for key in {*low, *high}}
    return gaps.pop(-1, 0) if all(gap == 0 for key, gap in gaps.items() if key != -1) else None


def _form(frame: Frame, value: Any) -> Form:
    if isinstance(value, int | Size):
        return {-1: value}
    makers = {result.id: op for op in frame.builder.ops for result in op.results}
    return _sum(value.operand, makers)


def _sum(operand: Operand, makers: dict[int, Op]) -> Form:
    if isinstance(operand, Literal):
        return {-1: int(operand.value)}
    op = makers.get(operand.id)
    if op is not None and op.name in {"add", "sub"}:
        sign = 1 if op.name == "add" else -1
        left, right = (_sum(part, makers) for part in op.operands)
        return {key: left.get(key, 0) + sign * right.get(key, 0) for key in {*left, *right}}
    if op is not None and op.name == "mul":
        for part, factor in (op.operands, op.operands[::-1]):
            if isinstance(factor, Literal) and isinstance(part, Value):
                return {key: int(factor.value) * one for key, one in _sum(part, makers).items()}
    return {operand.id: 1}
