"""Loops of a traced function: a loop over a range is one operation with the body as its function; others are unrolled.

The body is traced once, with the number of the round as a tensor. Where it picks from a list by that number, or where
what is carried is no tensor, each round has to be a part of the program of its own: then nothing of that tracing stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.diagnostics import Location, RecipeError
from etude.compiler.faults import Poisoned
from etude.compiler.regions import formed, made_of, parts, traced_region
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, operand_of, tensor
from etude.compiler.values import Made, Record, Tensor, Tree
from etude.grammar import nodes

Round = Callable[[Any, Any], Any]
"""What a round makes of the value that is carried and of the number of the round."""


# What taking back leaves as it is: other structs, and the number of the next value of a builder.
KEPT = frozenset({"builder", "session", "_next"})


class Unrolled(Exception):
    """The body needs the number of its round as a plain number."""


def rolled(session: Session, node: nodes.Loop, start: Any, numbers: range, body: Round, at: Location) -> Any:
    """What is carried after all rounds, as the result of one operation. Raises `Unrolled` where that cannot be."""
    if not numbers or not _is_carried(start):
        raise Unrolled
    if _is_plain(start) and _stays_plain(session, start, numbers[0], body):
        raise Unrolled
    with _taken_back_if_unrolled(session):
        return _traced(session, node, start, numbers, body, at)


def check_index(session: Session, index: Any) -> None:
    """A list that is indexed by the number of a round can only be unrolled."""
    regions = session.frame.regions if session.frame is not None else []
    if isinstance(index, Tensor) and any(region.name == "loop" for region in regions):
        raise Unrolled


def _traced(session: Session, node: nodes.Loop, start: Any, numbers: range, body: Round, at: Location) -> Any:
    frame = session.frame
    assert frame is not None
    first = [(path, made_of(session, value, at)) for path, value in parts("", start, "what a loop carries", at)]
    with traced_region(session, "loop", at, "draws") as region:
        number = region.placeholder(TensorType("int32"), node.variable or "round", None)
        region.open.sources.pop(number)
        states = [region.placeholder(value.type, path or node.carry, None) for path, value in first]
        carried = formed(start, iter(tensor(frame, state, at) for state in states))
        result = body(carried, tensor(frame, number, at))
        following = _following(session, node, start, first, result, at)
        _, place = region.cut(following)
    operands = [*[operand_of(frame, value, at, "'loop'") for _, value in first], *region.running]
    attributes = {
        "child": place, "start": numbers[0], "stop": numbers[-1], "states": len(operands),
        "site": frame.builder.next_site(),
    }  # fmt: skip
    types = [value.type for value in operands]
    made = frame.builder.append("loop", [*operands, *region.captured], attributes, types)
    region.put_back(made[len(first) :])
    return formed(start, iter(tensor(frame, value, at) for value in made[: len(first)]))


def _following(
    session: Session, node: nodes.Loop, start: Any, first: list[tuple[str, Tensor]], result: Any, at: Location
) -> list[tuple[str, Tensor]]:
    """What the next round is given: of the form and the types of what the first one was."""
    place = Location(at.source, node.body.result.span)
    found = [(path, made_of(session, value, place)) for path, value in parts("", result, "what a loop carries", place)]
    if [path for path, _ in first] != [path for path, _ in found]:
        shapes = [", ".join(path or "one tensor" for path, _ in side) for side in (first, found)]
        raise faults.carry_type(node.carry, shapes[0], shapes[1], place, _began(node, at), "carry the same fields")
    for (path, old), (_, new) in zip(first, found, strict=True):
        if old.type != new.type:
            name = f"{node.carry}.{path}" if path else node.carry
            raise faults.carry_type(name, str(old.type), str(new.type), place, _began(node, at), _hint(old, new))
    return found


def _began(node: nodes.Loop, at: Location) -> Location:
    return Location(at.source, node.start.span)


def _hint(old: Tensor, new: Tensor) -> str:
    if old.type.shape == new.type.shape:
        change = {"float32": "write 0.0 for 0, or float(...)", "int32": "write int(...)", "bool": "compare"}
        return f"start with {new.type.dtype}: {change.get(new.type.dtype, '')}"
    return f"start with a tensor of this shape, as zeros([{', '.join(map(str, new.type.shape))}])"


def _is_carried(value: Any) -> bool:
    """Whether a value is made of tensors and numbers only."""
    if isinstance(value, Record):
        return bool(value) and all(_is_carried(item) for item in value.values())
    return isinstance(value, Tensor | Tree | Made | bool | int | float)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Record):
        return all(_is_plain(item) for item in value.values())
    return isinstance(value, bool | int | float)


def _stays_plain(session: Session, start: Any, number: int, body: Round) -> bool:
    """Whether a round makes a plain number of a plain number: such a loop only counts, and is computed at once."""
    frame = session.frame
    assert frame is not None
    restore = _memory(session, frame)
    try:
        return _is_plain(body(start, number))
    except (RecipeError, Poisoned):
        return False
    finally:
        restore()


@contextmanager
def _taken_back_if_unrolled(session: Session) -> Iterator[None]:
    frame = session.frame
    assert frame is not None
    restore = _memory(session, frame)
    try:
        yield
    except Unrolled:
        restore()
        raise


def _memory(session: Session, frame: Frame) -> Callable[[], None]:
    """What puts the function being traced, and what has been reported, back to how they are now."""
    structs = (frame, frame.builder, session.diagnostics, *frame.regions)
    known = [_fields(each) for each in structs]

    def restore() -> None:
        for each, fields in zip(structs, known, strict=True):
            for name, value in fields.items():
                current = getattr(each, name)
                if isinstance(current, list):
                    current[:] = value
                elif isinstance(current, dict):
                    current.clear()
                    current.update(value)
                else:
                    setattr(each, name, value)

    return restore


def _fields(struct: Struct) -> dict[str, Any]:
    """The fields of a struct, lists and dicts copied; numbers for new values go on, so that none is given twice."""
    values = {name: getattr(struct, name) for name in struct.__struct_fields__ if name not in KEPT}
    return {name: value.copy() if isinstance(value, list | dict) else value for name, value in values.items()}
