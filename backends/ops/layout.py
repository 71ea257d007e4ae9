"""Operations that move, repeat, cut and join elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etude.backends.ops.literals import literal_text
from etude.backends.ops.rowwise import Lifting, along_axis, behind_batch, with_batch_in
from etude.backends.ops.shapes import expand_to, normal_axes, normal_axis, shape_text
from etude.backends.ops.table import Attributes, OperandError, Operation, Types
from etude.backends.program.dims import Dim, Size, b, divide, product
from etude.backends.program.ir import Operand
from etude.backends.program.types import TensorType


def _free(types: Types, results: Types, attributes: Attributes) -> Dim:
    return 0


def _reshape(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    kind, shape = types[0], tuple(attributes["shape"])
    unknown = [i for i, dim in enumerate(shape) if dim == -1]
    if len(unknown) > 1:
        raise OperandError(f"only one dimension may be -1, got {shape_text(shape)}")
    known = product([dim for dim in shape if dim != -1])
    rest = divide(kind.size, known)
    if rest is None or (not unknown and rest != 1):
        wanted = f"{shape_text(shape)}, which holds {'a multiple of ' if unknown else ''}{known}"
        raise OperandError(f"cannot reshape {kind}, which holds {kind.size} elements, to {wanted}", operand=0)
    return (kind.with_shape(tuple(rest if dim == -1 else dim for dim in shape)),)


def reshape_text(x: str, shape: Sequence[Dim]) -> str:
    """A reshape in which the only dimension, or the only one that depends on the batch, is left to the framework."""
    loose = [i for i, dim in enumerate(shape) if isinstance(dim, Size) or len(shape) == 1]
    if len(loose) == 1 and -1 not in shape:
        shape = tuple(-1 if i == loose[0] else dim for i, dim in enumerate(shape))
    return f"{x}.reshape({', '.join(map(literal_text, shape)) or '()'})"


def _spell_reshape(types: Types, attributes: Attributes) -> str:
    return reshape_text("{x}", attributes["shape"])


def _reshape_rows(lift: Lifting) -> tuple[Operand, ...]:
    return lift.apply("reshape", lift.operands, shape=(b, *lift.results[0].shape))


def _flatten(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    kind, start = types[0], attributes["start"]
    if not 0 <= start <= kind.rank:
        raise OperandError(f"cannot flatten {kind} from axis {start} on", operand=0)
    return (kind.with_shape((*kind.shape[:start], product(kind.shape[start:]))),)


def _spell_flatten(types: Types, attributes: Attributes) -> str:
    (result,) = _flatten(types, attributes)
    return reshape_text("{x}", result.shape)


def _torch_flatten(types: Types, attributes: Attributes) -> str:
    if attributes["start"] == types[0].rank:
        return _spell_flatten(types, attributes)
    return "{x}.flatten({start})" if attributes["start"] else "{x}.flatten()"


def _flatten_rows(lift: Lifting) -> tuple[Operand, ...]:
    return lift.apply("flatten", lift.operands, start=lift.attrs["start"] + 1)


def _order(kind: TensorType, axes: tuple[int, ...] | None) -> tuple[int, ...]:
    if axes is None:
        return tuple(reversed(range(kind.rank)))
    order = normal_axes(axes, kind)
    if len(order) != kind.rank:
        raise OperandError(
            f"the new order {list(axes)} names {len(order)} of the {kind.rank} axes of {kind}", operand=0
        )
    return order


def _transpose(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    order = _order(types[0], attributes["axes"])
    return (types[0].with_shape(tuple(types[0].shape[i] for i in order)),)


def _spell_transpose(types: Types, attributes: Attributes) -> str:
    return f"{{x}}.transpose({', '.join(map(str, _order(types[0], attributes['axes'])))})"


def _torch_transpose(types: Types, attributes: Attributes) -> str:
    return f"{{x}}.permute({', '.join(map(str, _order(types[0], attributes['axes']))) or '()'})"


def _transpose_rows(lift: Lifting) -> tuple[Operand, ...]:
    order = _order(lift.types[0], lift.attrs["axes"])
    return lift.apply("transpose", lift.operands, axes=(0, *(i + 1 for i in order)))


def _broadcast(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    expand_to(types[0], attributes["shape"], 0)
    return (types[0].with_shape(attributes["shape"]),)


def _repeat(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    axis = normal_axis(attributes["axis"], types[0])
    shape = types[0].shape
    return (types[0].with_shape((*shape[:axis], shape[axis] * attributes["times"], *shape[axis + 1 :])),)


def _concat(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    axis, first = normal_axis(attributes["axis"], types[0]), types[0]
    for index, kind in enumerate(types):
        rest = (first.shape[:axis] + first.shape[axis + 1 :], kind.shape[:axis] + kind.shape[axis + 1 :])
        if kind.rank != first.rank or rest[0] != rest[1]:
            hint = f"all axes but {axis}, along which they are joined, must be equal"
            raise OperandError(f"cannot join {first} and {kind}", operand=index, hint=hint)
    length: Dim = 0
    for kind in types:
        length = length + kind.shape[axis]
    return (first.with_shape((*first.shape[:axis], length, *first.shape[axis + 1 :])),)


def _stack(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    first = types[0]
    for index, kind in enumerate(types):
        if kind.shape != first.shape:
            hint = "stacked tensors must have one shape; `concat` joins along an axis that is there"
            raise OperandError(f"cannot stack {first} and {kind}", operand=index, hint=hint)
    place = normal_axis(attributes["axis"], first.with_shape((1, *first.shape)))
    return (first.with_shape((*first.shape[:place], len(types), *first.shape[place:])),)


def _pairs(widths: int | tuple[Any, ...], kind: TensorType) -> tuple[tuple[int, int], ...]:
    if isinstance(widths, int):
        return ((widths, widths),) * kind.rank
    if len(widths) != kind.rank:
        raise OperandError(f"{len(widths)} widths are given for the {kind.rank} axes of {kind}", operand=0)
    return tuple((width, width) if isinstance(width, int) else (width[0], width[1]) for width in widths)


def _pad(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    pairs = _pairs(attributes["widths"], types[0])
    if any(width < 0 for pair in pairs for width in pair):
        raise OperandError("widths of padding must not be negative", hint="cut with a slice instead")
    dims = zip(types[0].shape, pairs, strict=True)
    return (types[0].with_shape(tuple(dim + low + high for dim, (low, high) in dims)),)


def _spell_pad(module: str) -> Any:
    def spelling(types: Types, attributes: Attributes) -> str:
        value = attributes["value"] if types[0].dtype == "float32" else int(attributes["value"])
        pairs = _pairs(attributes["widths"], types[0])
        return f"{module}.pad({{x}}, {literal_text(pairs)}, constant_values={literal_text(value)})"

    return spelling


def _torch_pad(types: Types, attributes: Attributes) -> str:
    pairs = list(_pairs(attributes["widths"], types[0]))
    while pairs and pairs[0] == (0, 0):
        pairs = pairs[1:]
    flat = tuple(width for pair in reversed(pairs) for width in pair)
    return f"F.pad({{x}}, {literal_text(flat)}, value={literal_text(attributes['value'])})"


def _pad_rows(lift: Lifting) -> tuple[Operand, ...]:
    pairs = ((0, 0), *_pairs(lift.attrs["widths"], lift.types[0]))
    return lift.apply("pad", lift.operands, widths=pairs, value=lift.attrs["value"])


def _roll(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    axes, shift = normal_axes(attributes["axis"], types[0]), attributes["shift"]
    count = len(shift) if isinstance(shift, tuple) else 1
    if count != len(axes):
        raise OperandError(f"{count} shifts are given for {len(axes)} axes of {types[0]}", operand=0)
    return (types[0],)


def _flip(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    normal_axes(attributes["axis"], types[0])
    return (types[0],)


def _torch_flip(types: Types, attributes: Attributes) -> str:
    return f"torch.flip({{x}}, {literal_text(normal_axes(attributes['axis'], types[0]))})"


def _cuts(attributes: Attributes) -> tuple[int, ...]:
    at = attributes["at"]
    return at if isinstance(at, tuple) else (at,)


def _split_at(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    kind, cuts = types[0], _cuts(attributes)
    axis = normal_axis(attributes["axis"], kind)
    dim = kind.shape[axis]
    if any(cut < 0 for cut in cuts) or list(cuts) != sorted(cuts) or (isinstance(dim, int) and cuts[-1] > dim):
        raise OperandError(f"cannot split axis {axis} of {kind} at {list(cuts)}", operand=0)
    edges: list[Dim] = [0, *cuts, dim]
    lengths = [edges[i + 1] - edges[i] for i in range(len(edges) - 1)]
    return tuple(kind.with_shape((*kind.shape[:axis], n, *kind.shape[axis + 1 :])) for n in lengths)


def _spell_split(function: str, axis: str) -> Any:
    def spelling(types: Types, attributes: Attributes) -> str:
        return f"{function}({{x}}, {literal_text(_cuts(attributes))}, {axis}={{axis}})"

    return spelling


def _stack_rows(lift: Lifting) -> tuple[Operand, ...]:
    operands = [lift.spread(i) for i in range(len(lift.types))]
    return lift.apply("stack", operands, axis=behind_batch(lift.attrs["axis"], lift.types[0].rank))


ROWS = (
    Operation(
        name="reshape",
        signature="x: tensor, shape: shape",
        infer=_reshape,
        numpy=_spell_reshape,
        torch=_spell_reshape,
        jax=_spell_reshape,
        rows=_reshape_rows,
        flops=_free,
        doc="The same elements in row-major order with another shape; one dimension may be -1: whatever is left.",
    ),
    Operation(
        name="flatten",
        signature="x: tensor, start: integer = 1",
        infer=_flatten,
        numpy=_spell_flatten,
        torch=_torch_flatten,
        jax=_spell_flatten,
        rows=_flatten_rows,
        flops=_free,
        doc="One axis in the place of the axes from `start` on.",
    ),
    Operation(
        name="transpose",
        signature="x: tensor, axes: axes = none",
        infer=_transpose,
        numpy=_spell_transpose,
        torch=_torch_transpose,
        jax=_spell_transpose,
        rows=_transpose_rows,
        flops=_free,
        doc="The axes in another order; without one, reversed.",
    ),
    Operation(
        name="broadcast",
        signature="x: tensor, shape: shape",
        infer=_broadcast,
        numpy="np.broadcast_to({x}, {shape})",
        torch="torch.broadcast_to({x}, {shape})",
        jax="jnp.broadcast_to({x}, {shape})",
        rows=with_batch_in("shape"),
        flops=_free,
        doc="Stretched to a shape: aligned at the right, axes of 1 repeated.",
    ),
    Operation(
        name="repeat",
        signature="x: tensor, times: integer, axis: axis = 0",
        infer=_repeat,
        numpy="np.repeat({x}, {times}, axis={axis})",
        torch="torch.repeat_interleave({x}, {times}, dim={axis})",
        jax="jnp.repeat({x}, {times}, axis={axis})",
        rows=along_axis,
        flops=_free,
        doc="Each element along an axis several times in a row.",
    ),
    Operation(
        name="concat",
        signature="xs: numbers, axis: axis = 0",
        infer=_concat,
        numpy="np.concatenate({xs}, axis={axis})",
        torch="torch.cat({xs}, dim={axis})",
        jax="jnp.concatenate({xs}, axis={axis})",
        rows=along_axis,
        flops=_free,
        doc="Tensors joined along an axis.",
    ),
    Operation(
        name="stack",
        signature="xs: numbers, axis: axis = 0",
        infer=_stack,
        numpy="np.stack({xs}, axis={axis})",
        torch="torch.stack({xs}, dim={axis})",
        jax="jnp.stack({xs}, axis={axis})",
        rows=_stack_rows,
        flops=_free,
        doc="Tensors of one shape side by side along a new axis.",
    ),
    Operation(
        name="pad",
        signature="x: tensor, widths: widths, value: real = 0.0",
        infer=_pad,
        numpy=_spell_pad("np"),
        torch=_torch_pad,
        jax=_spell_pad("jnp"),
        rows=_pad_rows,
        flops=_free,
        doc="A value put around: [before, after] for each axis, or one number for all sides.",
    ),
    Operation(
        name="roll",
        signature="x: tensor, shift: integers, axis: axes = 0",
        infer=_roll,
        numpy="np.roll({x}, {shift}, axis={axis})",
        torch="torch.roll({x}, {shift}, dims={axis})",
        jax="jnp.roll({x}, {shift}, axis={axis})",
        rows=along_axis,
        flops=_free,
        doc="Shifted along axes; what leaves at the end enters at the start.",
    ),
    Operation(
        name="flip",
        signature="x: tensor, axis: axes = none",
        infer=_flip,
        numpy="np.flip({x}, axis={axis})",
        torch=_torch_flip,
        jax="jnp.flip({x}, axis={axis})",
        rows=along_axis,
        flops=_free,
        doc="Reversed along axes; along all without one.",
    ),
    Operation(
        name="split_at",
        signature="x: tensor, at: integers, axis: axis = -1",
        infer=_split_at,
        numpy=_spell_split("np.split", "axis"),
        torch=_spell_split("torch.tensor_split", "dim"),
        jax=_spell_split("jnp.split", "axis"),
        rows=along_axis,
        flops=_free,
        doc="Cut along an axis before the given positions: one piece more than there are positions.",
    ),
)
