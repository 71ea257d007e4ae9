"""Distillations of a loss in which the teacher is the very model that learns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from etude.backends.program.ir import Op, Value
from etude.compiler import weight_faults
from etude.compiler.diagnostics import Location
from etude.compiler.lambdas import TracedFunction
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, Origins
from etude.compiler.values import AnyOrigin, Tensor

Live = frozenset[AnyOrigin]


class Distillation(Struct, frozen=True):
    """Two tensors of a function being traced: one is to become like the other."""

    frame: Frame
    student: Value
    teacher: Value
    location: Location


def note_distillation(session: Session, student: Any, teacher: Any, location: Location) -> None:
    """Remember a distillation, to be judged when it is known what learns."""
    frame = session.frame
    if frame is None or frame.kind != "batch" or session.live == frozenset():
        return  # nothing learns where rows are measured, or a loss is validated
    if not isinstance(student, Tensor) or not isinstance(teacher, Tensor):
        return
    if isinstance(student.operand, Value) and isinstance(teacher.operand, Value):
        found = Distillation(frame, student.operand, teacher.operand, session.place(location))
        session.memo.setdefault("distillations", []).append(found)


def warn_about_teachers(session: Session, live: Live) -> None:
    """Warn of distillations, noted since the last time, in which both sides have the same weights, and these learn."""
    for each in session.memo.pop("distillations", ()):
        sides = _learning(each.frame, live)
        student, teacher = sides.get(each.student.id), sides.get(each.teacher.id)
        if student and student == teacher:
            session.diagnostics.add(weight_faults.own_teacher(each.location))


def _learning(frame: Frame, live: Live) -> dict[int, Live]:
    return behind(frame.builder.ops, frame.child_origins, live)


def moved_by(traced: TracedFunction, live: Live) -> Live:
    """The weights that gradients of the terms of a loss can reach: not through `stop`, nor through what is no float."""
    found = behind(traced.sub.ops, traced.origins, live, is_open=_passes_gradients)
    terms = [value for name, value in traced.sub.outputs if not name.startswith("@")]
    return frozenset[AnyOrigin]().union(*(found.get(each.id, Live()) for each in terms if isinstance(each, Value)))


def _passes_gradients(op: Op) -> bool:
    return op.name != "stop" and any(result.type.dtype == "float32" for result in op.results)


def behind(
    ops: Iterable[Op], children: Sequence[Origins], live: Live, is_open: Callable[[Op], bool] = lambda _: True
) -> dict[int, Live]:
    """The weights that learn behind each value of a function, by ways through operations that are `open`."""
    found: dict[int, Live] = {}
    for op in ops:
        if is_open(op):
            before = (found.get(operand.id, Live()) for operand in op.operands if isinstance(operand, Value))
            own = Live().union(*before, _own(children, op) & live)
            found.update((result.id, own) for result in op.results)
    return found


def _own(children: Sequence[Origins], op: Op) -> Live:
    if op.name == "call":
        return frozenset(children[op.attrs["child"]].flat)
    if op.name == "read":
        return frozenset([children[op.attrs["child"]].flat[op.attrs["slot"]]])
    return frozenset()
