"""Operations that compute something, but hardly what was meant: told as warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etude.backends.program.dims import Size
from etude.backends.program.ir import Child, Op, Operand, Value
from etude.compiler.class_counts import CHOOSING
from etude.compiler.diagnostics import Diagnostic, Location, Related
from etude.compiler.values import Tensor

if TYPE_CHECKING:
    from etude.compiler.session import Session
    from etude.compiler.tracing import Frame

LOOKED_AT = frozenset({"cross_entropy", "binary_cross_entropy", "softmax", "log_softmax", "eq", "ne"})
HANDING = {"slice", "reshape", "flatten", "stop", "cast", "transpose"}
"""Operations after which probabilities are still probabilities."""


def warn_about(
    session: Session, frame: Frame, name: str, values: Sequence[Any], attributes: Mapping[str, Any], location: Location
) -> None:
    """Warn of an operation that is given what it is not made for."""
    found = None
    if name in {"cross_entropy", "binary_cross_entropy"}:
        found = _probabilities(frame, name, values[0], session.place(location))
    elif name in {"eq", "ne"}:
        found = _class_and_number(frame, values, session.place(location))
    elif frame.kind != "row":
        found = _over_rows(name, values[0], attributes["axis"], session.place(location))
    if found is not None:
        session.diagnostics.add(found)


def _probabilities(frame: Frame, name: str, logits: Any, place: Location) -> Diagnostic | None:
    made = _maker(frame.builder.ops, frame.builder.children, logits.operand) if isinstance(logits, Tensor) else None
    if made not in {"softmax", "sigmoid"}:
        return None
    own = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}[name]
    return Diagnostic(
        "W409",
        f"'{name}' takes logits, but these are what '{made}' gives: it applies {own} itself",
        place,
        "probabilities in the place of logits",
        (Related(logits.location, f"these come from '{made}'"),),
        f"leave '{made}' out here; predictions are the same, and gradients do not vanish",
    )


def _maker(ops: Sequence[Op], children: Sequence[Child], operand: Operand) -> str | None:
    """The operation that made a value, also inside of the model that was called for it."""
    for op in reversed(ops):
        if isinstance(operand, Value) and operand in op.results:
            if op.name in HANDING:
                operand = op.operands[0]
            elif op.name == "call":
                sub = children[op.attrs["child"]].sub
                return _maker(sub.ops, sub.children, sub.outputs[op.results.index(operand)][1])
            else:
                return op.name
    return None


def _class_and_number(frame: Frame, values: Sequence[Any], place: Location) -> Diagnostic | None:
    for guess, other in (values, values[::-1]):
        if not isinstance(guess, Tensor) or not isinstance(other, Tensor) or other.type.dtype != "float32":
            continue
        if guess.type.dtype != "int32":
            continue
        made = next((op.name for op in reversed(frame.builder.ops) if guess.operand in op.results), None)
        if made in CHOOSING:
            return Diagnostic(
                "W411",
                f"a class, which '{made}' gives, is compared with numbers {other.type}, which are no label",
                place,
                "hardly ever equal",
                (Related(other.location, f"this is {other.type}"),),
                "numbers are measured by mae(m, on = d); as_label(int(y), classes = k) makes classes of whole numbers",
            )
    return None


def _over_rows(name: str, x: Any, axis: Any, place: Location) -> Diagnostic | None:
    if not isinstance(x, Tensor) or not isinstance(axis, int):
        return None
    shape = x.type.shape
    if not -len(shape) <= axis < len(shape) or not isinstance(shape[axis], Size) or len(shape) < 2:
        return None
    if sum(isinstance(dim, Size) for dim in shape) > 1:
        return None  # of all pairs of rows
    return Diagnostic(
        "W410",
        f"'{name}' of {x.type} runs over the rows of the batch: what it gives for a row depends on the others",
        place,
        f"axis {axis} is the batch",
        (Related(x.location, f"this is {x.type}"),),
        f"the classes are on the last axis: {name}(x, axis = -1), which is the default",
    )
