"""Rows of a batch that meet by accident: a prediction [b, 1] against a target [b] is every one against every other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from etude.backends.program.dims import Dim, Size
from etude.backends.program.ir import Operand, Value
from etude.compiler.diagnostics import Diagnostic, Location, Related
from etude.compiler.values import Tensor

if TYPE_CHECKING:
    from etude.compiler.session import Session

MEETING = frozenset({
    "add", "sub", "mul", "div", "floordiv", "mod", "pow", "maximum", "minimum", "lt", "le", "gt", "ge", "eq", "ne",
})  # fmt: skip
PASSING = MEETING | {
    "neg", "abs", "sign", "exp", "log", "log1p", "sqrt", "rsqrt", "square", "sin", "cos", "tanh", "sigmoid",
    "softplus", "relu", "leaky_relu", "gelu", "silu", "erf", "floor", "round", "cast", "stop", "clip", "slice",
}  # fmt: skip
"""Operations whose result has an axis of length 1 because an operand has it."""
GIVING = frozenset({"matmul", "einsum", "call", "conv"})
"""Operations whose results have axes that the recipe did not write there."""


def warn_about_meeting_rows(
    session: Session, name: str, values: Sequence[Any], result: Any, location: Location
) -> None:
    """Warn where an operation on two tensors made a second axis of the batch that nobody wrote."""
    left, right = values
    if not isinstance(left, Tensor) or not isinstance(right, Tensor) or left.type.rank == right.type.rank:
        return
    long, short = (left, right) if left.type.rank > right.type.rank else (right, left)
    if meeting_axis(long.type.shape, short.type.shape) is None or _is_on_purpose(session.frame, long.operand):
        return
    place = session.place(location)
    session.diagnostics.add(rows_that_meet(name, result.type, long, short, place))


def meeting_axis(long: Sequence[Dim], short: Sequence[Dim]) -> int | None:
    """The axis of length 1 of the longer shape, from the right, that meets the batch, where the batch stands in
    front of it as well."""
    for axis in range(1, len(short) + 1):
        has_rows_before = any(isinstance(dim, Size) for dim in long[: len(long) - axis])
        if isinstance(short[-axis], Size) and long[-axis] == 1 and has_rows_before:
            return axis
    return None


def _is_on_purpose(frame: Any, operand: Operand) -> bool:
    """Whether the recipe made the axis of length 1 itself, by `newaxis`, `keep = true`, `reshape` and the like."""
    made = {result.id: op for op in frame.builder.ops for result in op.results}
    while isinstance(operand, Value):
        op = made.get(operand.id)
        if op is None or op.name in GIVING:
            return False
        if op.name not in PASSING or (op.name == "slice" and ("newaxis",) in op.attrs["items"]):
            return True
        rank = operand.type.rank
        operand = next((each for each in op.operands if each.type.rank >= rank), op.operands[0])
    return False


def as_one_shape(long: Sequence[Dim], short: Sequence[Dim]) -> str:
    """What gives the longer shape the form of the shorter one, as the recipe would write it of x."""
    axis = meeting_axis(long, short)
    if axis == 1 or axis is None:
        return "x[:, 0]" if len(long) == 2 else "x[..., 0]"
    return f"x[..., 0{', :' * (axis - 1)}]"


def rows_that_meet(name: str, result: Any, long: Tensor, short: Tensor, location: Location) -> Diagnostic:
    words = {"sub": "-", "add": "+", "mul": "*", "div": "/", "eq": "==", "ne": "!=", "lt": "<", "gt": ">"}
    return Diagnostic(
        "W408",
        f"'{words.get(name, name)}' of {long.type} and {short.type} takes every row of the batch with every other one: "
        f"it gives {result}",
        location,
        "rows meet other rows",
        tuple(Related(each.location, f"this is {each.type}") for each in (long, short)),
        f"take the axis of length 1 away: {as_one_shape(long.type.shape, short.type.shape)}; "
        "where all pairs are meant, write x[:, newaxis] and y[newaxis]",
    )
