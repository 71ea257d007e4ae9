"""Operations that pick and add by position: slices, integer indices, segments."""

from __future__ import annotations

from typing import Any

from etude.backends.ops.literals import literal_text
from etude.backends.ops.rowwise import Lifting, along_axis, batch_wise, reshaped
from etude.backends.ops.shapes import normal_axis, ranked, shape_text
from etude.backends.ops.table import Attributes, OperandError, Operation, Types
from etude.backends.program.dims import Dim, Size, b, product
from etude.backends.program.ir import Literal, Operand
from etude.backends.program.types import TensorType

# --- slices: items are ("slice", start, stop[, a step above 1]), ("index", i), ("newaxis",) and one ("ellipsis",) ---


def _slice(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    kind, items = types[0], attributes["items"]
    used = sum(item[0] in {"slice", "index"} for item in items)
    if used > kind.rank:
        raise OperandError(f"{used} positions are given for the {kind.rank} axes of {kind}", operand=0)
    if not any(item[0] == "ellipsis" for item in items):
        items = (*items, ("ellipsis",))
    shape: list[Dim] = []
    axis = 0
    for item in items:
        if item[0] == "newaxis":
            shape.append(1)
        elif item[0] == "ellipsis":
            shape += kind.shape[axis : axis + kind.rank - used]
            axis += kind.rank - used
        else:
            if item[0] == "slice":
                shape.append(_length(kind, axis, *item[1:]))
            else:
                _check_index(kind, axis, item[1])
            axis += 1
    return (kind.with_shape(tuple(shape)),)


def _length(kind: TensorType, axis: int, start: Dim | None, stop: Dim | None, step: int = 1) -> Dim:
    dim = kind.shape[axis]
    low, high = _edge(0 if start is None else start, dim, kind), _edge(dim if stop is None else stop, dim, kind)
    length = high - low
    if isinstance(length, int):
        return -(-max(length, 0) // step)
    if step > 1:
        raise OperandError(f"how many entries lie {step} apart depends on the batch", operand=0)
    return length


def _edge(position: Dim, dim: Dim, kind: TensorType) -> Dim:
    """The end of a slice counted from the left, within the axis where both are numbers."""
    if isinstance(position, int) and isinstance(dim, int):
        return min(position if position >= 0 else max(dim + position, 0), dim)
    if isinstance(position, int) and position < 0:
        return dim + position
    if not isinstance(dim, Size) and position != dim:
        raise OperandError(
            f"the slice ends at {position}, but the axis of {kind} has the fixed length {dim}", operand=0
        )
    return position


def _check_index(kind: TensorType, axis: int, index: int) -> None:
    dim = kind.shape[axis]
    if isinstance(dim, int) and not -dim <= index < dim:
        raise OperandError(f"index {index} is out of range for axis {axis} of {kind}, which has {dim}", operand=0)


def _item_text(item: tuple[Any, ...]) -> str:
    if item[0] == "slice":
        return ":".join("" if end is None else literal_text(end) for end in item[1:])
    return {"newaxis": "None", "ellipsis": "..."}.get(item[0]) or literal_text(item[1])


def _spell_slice(types: Types, attributes: Attributes) -> str:
    return f"{{x}}[{', '.join(map(_item_text, attributes['items'])) or '...'}]"


def _slice_rows(lift: Lifting) -> tuple[Operand, ...]:
    return lift.apply("slice", lift.operands, items=(("slice", None, None), *lift.attrs["items"]))


# --- integer indices ---


def _taken(kind: TensorType, axis: int, index: TensorType) -> tuple[TensorType, ...]:
    return (kind.with_shape((*kind.shape[:axis], *index.shape, *kind.shape[axis + 1 :])),)


def _take(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return _taken(types[0], normal_axis(attributes["axis"], types[0]), types[1])


def _spell_take(types: Types, attributes: Attributes) -> str:
    return f"{{x}}[{':, ' * normal_axis(attributes['axis'], types[0])}{{index}}]"


def _spell_take_torch(types: Types, attributes: Attributes) -> str:
    """PyTorch would read a single position back to the host."""
    if types[1].rank:
        return _spell_take(types, attributes)
    return f"entry_at({{x}}, {{index}}, {normal_axis(attributes['axis'], types[0])})"


def _spell_gather_torch(types: Types, attributes: Attributes) -> str:
    return "{x}[{index}]" if types[1].rank else "entry_at({x}, {index}, 0)"


def _gather(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    ranked(types[0], 1, None, "a tensor to pick from", 0)
    return _taken(types[0], 0, types[1])


def _slice_at(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    kind, axis, length = types[0], normal_axis(attributes["axis"], types[0]), attributes["length"]
    if types[1].rank:
        raise OperandError(f"a slice starts at one int, got {types[1]}", operand=1)
    dim = kind.shape[axis]
    if isinstance(length, int) and isinstance(dim, int) and not 0 < length <= dim:
        raise OperandError(f"a part of length {length} does not lie in axis {axis} of {kind}", operand=0)
    return (kind.with_shape((*kind.shape[:axis], length, *kind.shape[axis + 1 :])),)


def _slice_at_rows(lift: Lifting) -> tuple[Operand, ...]:
    """Where each row has a start of its own, its places are picked one by one."""
    axis, length = normal_axis(lift.attrs["axis"], lift.types[0]), lift.attrs["length"]
    if not lift.batched[1]:
        return lift.apply("slice_at", lift.operands, length=length, axis=axis + 1)
    room = lift.types[0].shape[axis] - length
    start = lift.apply("clip", [lift.operands[1], Literal(0), Literal(_number(room))])[0]
    places = lift.apply("add", [lift.apply("reshape", [start], shape=(b, 1))[0], lift.apply("iota", [], n=length)[0]])
    return _taken_in_rows(lift, lift.spread(0), places[0], axis)


def _take_rows(lift: Lifting) -> tuple[Operand, ...]:
    """Where each row picks from its own tensor, the tensors are laid end to end and the indices moved."""
    axis = normal_axis(lift.attrs.get("axis", 0), lift.types[0])
    if not lift.batched[0]:
        return _take_from_shared(lift, axis) if axis else lift.apply(lift.name, lift.operands, **lift.attrs)
    if not lift.batched[1]:
        return lift.apply("take", lift.operands, axis=axis + 1)
    return _taken_in_rows(lift, lift.operands[0], lift.operands[1], axis)


def _taken_in_rows(lift: Lifting, x: Operand, index: Operand, axis: int) -> tuple[Operand, ...]:
    """The entries of each row of x along its axis, at places that each row has of its own."""
    rank, index_rank = x.type.rank - 1, index.type.rank - 1
    first = lift.apply("transpose", [x], axes=(0, axis + 1, *_without(range(1, rank + 1), axis + 1)))[0]
    picked = _gather_in_rows(lift, first, index)
    order = (0, *range(index_rank + 1, index_rank + 1 + axis), *range(1, index_rank + 1))
    return lift.apply("transpose", [picked], axes=(*order, *range(len(order), index_rank + rank)))


def _take_from_shared(lift: Lifting, axis: int) -> tuple[Operand, ...]:
    taken = lift.apply("take", lift.operands, axis=axis)[0]
    return lift.apply("transpose", [taken], axes=(axis, *_without(range(taken.type.rank), axis)))


def _without(numbers: range, one: int) -> tuple[int, ...]:
    return tuple(number for number in numbers if number != one)


def _gather_in_rows(lift: Lifting, x: Operand, index: Operand) -> Operand:
    """`x[row, index[row]]`, for x `[b, n, ...]` and index `[b, ...]`."""
    n, rest = x.type.shape[1], x.type.shape[2:]
    flat = lift.apply("reshape", [x], shape=(product((b, n)), *rest))[0]
    return lift.apply("gather", [flat, _moved(lift, index, n)])[0]


def _moved(lift: Lifting, index: Operand, n: Dim) -> Operand:
    """Indices into rows of length n, as indices into the rows laid end to end."""
    starts = lift.apply("mul", [lift.apply("iota", [], n=b)[0], Literal(_number(n))])[0]
    starts = lift.apply("reshape", [starts], shape=(b, *(1,) * (index.type.rank - 1)))[0]
    inside = lift.apply("mod", [index, Literal(_number(n))])[0]
    return lift.apply("add", [inside, starts])[0]


def _number(dim: Dim) -> int:
    assert isinstance(dim, int), "the rows of a row program have fixed shapes"
    return dim


def _take_along(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    kind, index = types
    axis = normal_axis(attributes["axis"], kind)
    if index.rank != kind.rank:
        raise OperandError(f"the indices must have the {kind.rank} axes of {kind}, got {index}", operand=1)
    for place, (left, right) in enumerate(zip(kind.shape, index.shape, strict=True)):
        if place != axis and left != right:
            raise OperandError(
                f"axis {place} is {left} in {kind} and {right} in the indices {index}",
                operand=1,
                hint=f"all axes but {axis}, along which values are taken, must be equal",
            )
    return (kind.with_shape(index.shape),)


# --- adding up by index ---


def _scatter_add(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    kind, index, updates = types
    ranked(kind, 1, None, "a tensor to add to", 0)
    wanted = (*index.shape, *kind.shape[1:])
    if updates.shape != wanted:
        hint = "the values have the shape of the indices, then the axes of the tensor but the first"
        raise OperandError(f"expected values of shape {shape_text(wanted)}, got {updates}", operand=2, hint=hint)
    return (kind,)


def _scatter_rows(lift: Lifting) -> tuple[Operand, ...]:
    x, index, updates = (lift.spread(i) for i in range(3))
    n, rest = lift.types[0].shape[0], lift.types[0].shape[1:]
    flat = lift.apply("reshape", [x], shape=(product((b, n)), *rest))[0]
    added = lift.apply("scatter_add", [flat, _moved(lift, index, n), updates])[0]
    return (reshaped(lift, added, lift.results[0]),)


def _segment_sum(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    kind, segments = types
    ranked(kind, 1, None, "a tensor whose first axis is summed by segment", 0)
    if segments.shape != kind.shape[:1]:
        raise OperandError(f"expected one segment for each of the {kind.shape[0]} entries, got {segments}", operand=1)
    return (kind.with_shape((attributes["count"], *kind.shape[1:])),)


def _segment_rows(lift: Lifting) -> tuple[Operand, ...]:
    x, segments = lift.spread(0), lift.spread(1)
    n, rest, count = lift.types[0].shape[0], lift.types[0].shape[1:], lift.attrs["count"]
    total = product((b, n))
    flat = lift.apply("reshape", [x], shape=(total, *rest))[0]
    moved = lift.apply("reshape", [_moved(lift, segments, count)], shape=(total,))[0]
    summed = lift.apply("segment_sum", [flat, moved], count=product((b, count)))[0]
    return (reshaped(lift, summed, lift.results[0]),)


def _one_hot(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType("float32", (*types[0].shape, attributes["classes"])),)


def _embedding(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    if types[0].rank != 2:
        raise OperandError(f"expected a table [entries, width], got {types[0]}", operand=0)
    return _gather(types, attributes)


def _free(types: Types, results: Types, attributes: Attributes) -> Dim:
    return 0


ROWS = (
    Operation(
        name="slice",
        signature="x: tensor, items: items",
        infer=_slice,
        numpy=_spell_slice,
        torch=_spell_slice,
        jax=_spell_slice,
        rows=_slice_rows,
        flops=_free,
        doc="A part, by positions known before the run, as in numpy: `x[0:3]`, `x[..., -1]`, `x[::-2, newaxis]`.",
    ),
    Operation(
        name="slice_at",
        signature="x: tensor, start: int, length: dim, axis: axis = 0",
        infer=_slice_at,
        numpy="slice_at({x}, {start}, {length}, {axis})",
        torch="slice_at({x}, {start}, {length}, {axis})",
        jax="lax.dynamic_slice_in_dim({x}, jnp.maximum({start}, 0), {length}, {axis})",
        rows=_slice_at_rows,
        flops=_free,
        doc="A part of a known length along an axis that starts at a computed position, held where it lies inside.",
    ),
    Operation(
        name="take",
        signature="x: tensor, index: int, axis: axis = 0",
        infer=_take,
        numpy=_spell_take,
        torch=_spell_take_torch,
        jax=_spell_take,
        rows=_take_rows,
        flops=_free,
        doc="The entries along an axis at integer positions; the axes of the index stand in its place.",
    ),
    Operation(
        name="gather",
        signature="x: tensor, index: int",
        infer=_gather,
        numpy="{x}[{index}]",
        torch=_spell_gather_torch,
        jax="{x}[{index}]",
        rows=_take_rows,
        flops=_free,
        doc="`x[i]`: the entries along the first axis at integer positions.",
    ),
    Operation(
        name="take_along",
        signature="x: tensor, index: int, axis: axis = -1",
        infer=_take_along,
        numpy="np.take_along_axis({x}, {index}, axis={axis})",
        torch="torch.take_along_dim({x}, {index}.long(), dim={axis})",
        jax="jnp.take_along_axis({x}, {index}, axis={axis})",
        rows=along_axis,
        flops=_free,
        doc="Along one axis, for each place of the others, the entry at its own position (the inverse of argsort).",
    ),
    Operation(
        name="scatter_add",
        signature="x: number, index: int, updates: number",
        infer=_scatter_add,
        numpy="scatter_add({x}, {index}, {updates})",
        torch="{x}.index_put(({index},), {updates}, accumulate=True)",
        jax="{x}.at[{index}].add({updates})",
        rows=_scatter_rows,
        doc="`x` with values added to its entries at integer positions of the first axis; equal positions add up.",
    ),
    Operation(
        name="segment_sum",
        signature="x: number, segments: int, count: dim",
        infer=_segment_sum,
        numpy="segment_sum({x}, {segments}, {count})",
        torch="segment_sum({x}, {segments}, {count})",
        jax="jax.ops.segment_sum({x}, {segments}, num_segments={count})",
        rows=_segment_rows,
        doc="The entries along the first axis, added up by the segment each belongs to.",
    ),
    Operation(
        name="one_hot",
        signature="x: int, classes: integer",
        infer=_one_hot,
        numpy="({x}[..., None] == np.arange({classes})).astype(np.float32)",
        torch="({x}[..., None] == torch.arange({classes})).float()",
        jax="jax.nn.one_hot({x}, {classes})",
        rows=batch_wise,
        flops=_free,
        differentiable=False,
        doc="1 at the position of each label, else 0, along a new last axis; zeros for a label out of range.",
    ),
    Operation(
        name="embedding",
        signature="table: float, ids: int",
        infer=_embedding,
        numpy="{table}[{ids}]",
        torch="F.embedding({ids}, {table})",
        jax="{table}[{ids}]",
        rows=_take_rows,
        flops=_free,
        doc="The rows of a table [entries, width] at integer ids.",
    ),
)
