"""Shape rules that many operations share. Messages name both shapes, the dimension, and why it does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from etude.backends.ops.table import Attributes, OperandError, Types
from etude.backends.program.dims import Dim, Size
from etude.backends.program.types import TensorType

Axes: TypeAlias = int | tuple[int, ...] | None


def shape_text(shape: Sequence[Dim]) -> str:
    """`shape` as people read it.

    >>> from etude.backends.program.dims import b
    >>> shape_text((b, 64)), shape_text(())
    ('[b, 64]', '[]')
    """
    return f"[{', '.join(map(str, shape))}]"


def broadcast(types: Types) -> tuple[Dim, ...]:
    """The common shape by numpy's rule: aligned at the right, a 1 is stretched. Raises `OperandError`."""
    result: tuple[Dim, ...] = ()
    for index, kind in enumerate(types):
        dims = _broadcast_pair(result, kind.shape)
        if isinstance(dims, int):
            _refuse(types, index, dims)
        else:
            result = dims
    return result


def _broadcast_pair(left: tuple[Dim, ...], right: tuple[Dim, ...]) -> tuple[Dim, ...] | int:
    """The common shape, or the axis (from the right) that does not fit."""
    if not left or left == right:
        return right
    rank = max(len(left), len(right))
    pairs = list(zip(_padded(left, rank), _padded(right, rank), strict=True))
    for place, (a, b) in enumerate(pairs):
        if a != b and a != 1 and b != 1:
            return place - rank
    return tuple([b if a == 1 else a for a, b in pairs])


def _refuse(types: Types, index: int, axis: int) -> None:
    """Point at the operand `index` and the earlier one that it does not fit."""
    late = types[index]
    early = next(k for k in types[:index] if -axis <= k.rank and k.shape[axis] not in (1, late.shape[axis]))
    a, b = early.shape[axis], late.shape[axis]
    raise OperandError(
        f"shapes {shape_text(early.shape)} and {shape_text(late.shape)} do not fit: axis {axis} is {a} and {b}",
        operand=index,
        hint=_broadcast_hint(early.shape, late.shape, axis),
    )


def _broadcast_hint(left: tuple[Dim, ...], right: tuple[Dim, ...], axis: int) -> str:
    short, long = sorted((left, right), key=len)
    if len(short) < len(long) and short == long[: len(short)]:
        new = ", newaxis" * (len(long) - len(short))
        return f"shapes are aligned at the right: `x[...{new}]` adds the missing axes at the end of {shape_text(short)}"
    if isinstance(left[axis], Size) or isinstance(right[axis], Size):
        return "`b` is the number of rows of the batch, which equals no fixed number"
    return "axes must be equal, or 1 in one of the shapes"


def _padded(shape: tuple[Dim, ...], rank: int) -> tuple[Dim, ...]:
    return (1,) * (rank - len(shape)) + shape


def expand_to(kind: TensorType, shape: tuple[Dim, ...], operand: int) -> None:
    """Check that `kind` broadcasts to exactly `shape`."""
    if _broadcast_pair(shape, kind.shape) != shape:
        raise OperandError(f"expected a shape that stretches to {shape_text(shape)}, got {kind}", operand=operand)


def normal_axis(axis: int, kind: TensorType, operand: int = 0) -> int:
    """`axis` counted from the left. Raises `OperandError` when the tensor has no such axis."""
    if not -kind.rank <= axis < kind.rank:
        hint = f"its axes are {-kind.rank} to {kind.rank - 1}" if kind.rank else "it is a single number without axes"
        raise OperandError(f"there is no axis {axis} in {kind}", operand=operand, hint=hint)
    return axis % kind.rank


def normal_axes(axes: Axes, kind: TensorType, operand: int = 0) -> tuple[int, ...]:
    """`axes` counted from the left, in the order given; none means all."""
    if axes is None:
        return tuple(range(kind.rank))
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    normal = tuple(normal_axis(axis, kind, operand) for axis in given)
    for axis in normal:
        if normal.count(axis) > 1:
            raise OperandError(f"axis {axis} of {kind} is named twice in {list(given)}", operand=operand)
    return normal


def reduced(kind: TensorType, axes: Axes, keep: bool) -> tuple[Dim, ...]:
    """The shape after a reduction over `axes`."""
    gone = normal_axes(axes, kind)
    if keep:
        return tuple(1 if i in gone else dim for i, dim in enumerate(kind.shape))
    return tuple(dim for i, dim in enumerate(kind.shape) if i not in gone)


def ranked(kind: TensorType, low: int, high: int | None, what: str, operand: int) -> None:
    """Check the number of axes of an operand, `what` it should look like in words."""
    if kind.rank < low or (high is not None and kind.rank > high):
        raise OperandError(f"expected {what}, got {kind}", operand=operand)


def static(dim: Dim, what: str, operand: int) -> int:
    """`dim` as a number. Raises `OperandError` when it depends on the batch."""
    if isinstance(dim, Size):
        raise OperandError(f"{what} must be fixed, but it is {dim}, which depends on the batch", operand=operand)
    return dim


def named(types: Types, attributes: Attributes, names: Sequence[str]) -> dict[str, TensorType]:
    """The given operands' types by parameter name, where optional operands may be left out (attribute `has`)."""
    given = attributes.get("has")
    present = list(names) if given is None else [name for name in names if name in given]
    return dict(zip(present, types, strict=False))


def spatial(value: int | Sequence[int], count: int, what: str) -> tuple[int, ...]:
    """One integer for each of `count` spatial axes; all but padding are at least 1."""
    values = (value,) * count if isinstance(value, int) else tuple(value)
    if len(values) != count:
        raise OperandError(f"{what} has {len(values)} numbers, but there are {count} spatial axes", operand=0)
    least = 0 if what == "padding" else 1
    if any(number < least for number in values):
        raise OperandError(f"{what} is at least {least}, got {min(values)}")
    return values
