"""Distillations of a loss in which the teacher is the very model that learns."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from etude.backends.program.ir import Op, Value
from etude.compiler import weight_faults
from etude.compiler.diagnostics import Location
from etude.compiler.session import Session
from etude.compiler.tracing import Frame
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
    """The weights that learn behind each value of a function."""
    found: dict[int, Live] = {}
    for op in frame.builder.ops:
        behind = frozenset[AnyOrigin]().union(
            *(found.get(operand.id, frozenset()) for operand in op.operands if isinstance(operand, Value))
        )
        behind |= _own(frame, op) & live
        found.update((result.id, behind) for result in op.results)
    return found


def _own(frame: Frame, op: Op) -> Live:
    if op.name == "call":
        return frozenset(frame.child_origins[op.attrs["child"]].flat)
    if op.name == "read":
        return frozenset([frame.child_origins[op.attrs["child"]].flat[op.attrs["slot"]]])
    return frozenset()
