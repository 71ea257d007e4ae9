"""Row rules: how an operation on single rows becomes the operation on a batch of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from etude.backends.program.ir import Operand
    from etude.backends.program.types import TensorType


class Lifting(Protocol):
    """One operation of a row program while it is vectorised; at least one operand depends on the row.

    `types` and `results` are those of the row program; `operands` are the new ones: the leading `b` stands in those
    that are `batched`.
    """

    name: str
    attrs: dict[str, Any]
    types: Sequence[TensorType]
    results: Sequence[TensorType]
    operands: Sequence[Operand]
    batched: Sequence[bool]

    def apply(self, name: str, operands: Sequence[Operand], **attributes: Any) -> tuple[Operand, ...]:
        """Append an operation to the vectorised program."""
        ...

    def draw(self, operands: Sequence[Operand]) -> tuple[Operand, ...]:
        """Append this random operation with one key for each row."""
        ...

    def ranked(self, index: int, rank: int) -> Operand:
        """The operand with axes of length 1 inserted after the batch so that its rows have `rank` axes."""
        ...

    def spread(self, index: int) -> Operand:
        """The operand with the leading `b`: repeated for each row where it does not depend on the row."""
        ...


RowRule: TypeAlias = Callable[[Lifting], "tuple[Operand, ...]"]


def elementwise(lift: Lifting) -> tuple[Operand, ...]:
    """Broadcast the rows against each other as the row program would: missing axes stand after the batch."""
    rank = max(kind.rank for kind in lift.types)
    return lift.apply(lift.name, [lift.ranked(i, rank) for i in range(len(lift.types))], **lift.attrs)


def batch_wise(lift: Lifting) -> tuple[Operand, ...]:
    """The operation already takes leading axes: only repeat what does not depend on the row."""
    return lift.apply(lift.name, [lift.spread(i) for i in range(len(lift.types))], **lift.attrs)


def along_axis(lift: Lifting) -> tuple[Operand, ...]:
    """Shift the attribute `axis` behind the batch; none becomes all axes of the row."""
    if not lift.types[0].rank:  # PyTorch reads no axes as all axes: a row that is one number gets an axis for itself
        column = lift.apply("reshape", [lift.spread(0)], shape=(_batch(), 1))
        results = lift.apply(lift.name, [*column, *lift.operands[1:]], **(lift.attrs | {"axis": 1}))
        return tuple(reshaped(lift, value, kind) for value, kind in zip(results, lift.results, strict=True))
    attrs = lift.attrs | {"axis": behind_batch(lift.attrs["axis"], lift.types[0].rank)}
    return lift.apply(lift.name, [lift.spread(i) for i in range(len(lift.types))], **attrs)


def along_one_axis(lift: Lifting) -> tuple[Operand, ...]:
    """Shift the attribute `axis`, a single one; none stands for the flattened row."""
    if lift.attrs["axis"] is not None:
        return along_axis(lift)
    flat = lift.apply("flatten", [lift.spread(0)], start=1)
    results = lift.apply(lift.name, [*flat, *lift.operands[1:]], **(lift.attrs | {"axis": 1}))
    return tuple(reshaped(lift, value, kind) for value, kind in zip(results, lift.results, strict=True))


def with_batch_in(attribute: str) -> RowRule:
    """Put `b` before the dimensions in `attribute` (a shape that the operand broadcasts to or is reshaped to)."""

    def rule(lift: Lifting) -> tuple[Operand, ...]:
        shape = lift.attrs[attribute]
        operands = [lift.ranked(i, len(shape)) for i in range(len(lift.types))]
        return lift.apply(lift.name, operands, **(lift.attrs | {attribute: (_batch(), *shape)}))

    return rule


def behind_batch(axis: int | Sequence[int] | None, rank: int) -> int | tuple[int, ...]:
    """`axis` of a row, as axis of the batch of rows.

    >>> behind_batch(None, 2), behind_batch(0, 2), behind_batch((-1, 0), 2)
    ((1, 2), 1, (-1, 1))
    """
    if axis is None:
        return tuple(range(1, rank + 1))
    if isinstance(axis, int):
        return axis + 1 if axis >= 0 else axis
    return tuple(a + 1 if a >= 0 else a for a in axis)


def reshaped(lift: Lifting, value: Operand, row: TensorType) -> Operand:
    """`value` with the shape of a batch of `row`s."""
    shape = (_batch(), *row.shape)
    return value if value.type.shape == shape else lift.apply("reshape", [value], shape=shape)[0]


def _batch() -> Any:
    from etude.backends.program.dims import b

    return b
