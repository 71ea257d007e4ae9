"""Reductions over axes, and what works along one axis: sums, extremes, orders."""

from __future__ import annotations

from etude.backends.ops.rowwise import along_axis, along_one_axis
from etude.backends.ops.shapes import normal_axis, reduced
from etude.backends.ops.table import Attributes, OperandError, Operation, Types
from etude.backends.program.types import DType, TensorType

REDUCED = "axis={axis}, keepdims={keep}"
TORCH_REDUCED = "dim={axis}, keepdim={keep}"
WORDS = "axis: axes = none, keep: flag = false"


def _reduced(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (types[0].with_shape(reduced(types[0], attributes["axis"], attributes["keep"])),)


def _one_axis(types: Types, attributes: Attributes, dtype: DType | None = None) -> tuple[TensorType, ...]:
    if isinstance(attributes["axis"], tuple):
        raise OperandError("expected one axis, got a list", hint="flatten the axes into one first")
    shape = reduced(types[0], attributes["axis"], attributes["keep"])
    return (TensorType(dtype or types[0].dtype, shape),)


def _place(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return _one_axis(types, attributes, "int32")


def _along(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    normal_axis(attributes["axis"], types[0])
    return (types[0],)


def _order(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (_along(types, attributes)[0].with_dtype("int32"),)


def _top_k(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    axis, k = normal_axis(attributes["axis"], types[0]), attributes["k"]
    dim = types[0].shape[axis]
    if k < 1 or (isinstance(dim, int) and k > dim):
        raise OperandError(f"cannot take the top {k} of the {dim} values along axis {axis} of {types[0]}", operand=0)
    shape = (*types[0].shape[:axis], k, *types[0].shape[axis + 1 :])
    return types[0].with_shape(shape), TensorType("int32", shape)


def _quantile(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    if not 0 <= attributes["q"] <= 1:
        raise OperandError(f"a quantile lies between 0 and 1, got {attributes['q']}")
    return _one_axis(types, attributes)


def _integral(types: Types) -> bool:
    return types[0].dtype != "float32"


def _numpy_total(function: str, types: Types) -> str:
    dtype = ", dtype=np.int32" if _integral(types) else ""
    return f"{function}({{x}}, {REDUCED}{dtype})"


def _torch_sum(types: Types, attributes: Attributes) -> str:
    return f"torch.sum({{x}}, {TORCH_REDUCED}{', dtype=torch.int32' if _integral(types) else ''})"


def _torch_prod(types: Types, attributes: Attributes) -> str:
    dtype = ", dtype=torch.int32" if _integral(types) else ""
    if isinstance(attributes["axis"], int):
        return f"torch.prod({{x}}, {TORCH_REDUCED}{dtype})"
    return f"prod({{x}}, {{axis}}, {{keep}}{dtype})"


def _torch_logsumexp(types: Types, attributes: Attributes) -> str:
    if attributes["axis"] is None:
        return f"torch.logsumexp({{x}}, dim={tuple(range(types[0].rank))}, keepdim={{keep}})"
    return f"torch.logsumexp({{x}}, {TORCH_REDUCED})"


def _torch_cumsum(types: Types, attributes: Attributes) -> str:
    return f"torch.cumsum({{x}}, dim={{axis}}{', dtype=torch.int32' if _integral(types) else ''})"


def _numpy_cumsum(types: Types, attributes: Attributes) -> str:
    return f"np.cumsum({{x}}, axis={{axis}}{', dtype=np.int32' if _integral(types) else ''})"


def _numpy_sort(types: Types, attributes: Attributes) -> str:
    return "-np.sort(-{x}, axis={axis})" if attributes["descending"] else "np.sort({x}, axis={axis})"


def _numpy_argsort(types: Types, attributes: Attributes) -> str:
    x = "-{x}" if attributes["descending"] else "{x}"
    return f"np.argsort({x}, axis={{axis}}, stable=True).astype(np.int32)"


def _jax_order(function: str, ending: str = "") -> str:
    return f"{function}({{x}}, axis={{axis}}, stable=True, descending={{descending}}){ending}"


def _reduction(
    name: str, numpy: str, torch: str, jax: str, doc: str, *, kind: str = "number", differentiable: bool = True
) -> Operation:
    return Operation(
        name=name,
        signature=f"x: {kind}, {WORDS}",
        infer=_reduced,
        numpy=f"{numpy}({{x}}, {REDUCED})",
        torch=f"{torch}({{x}}, {TORCH_REDUCED})",
        jax=f"{jax}({{x}}, {REDUCED})",
        rows=along_axis,
        differentiable=differentiable,
        doc=doc,
    )


ROWS = (
    Operation(
        name="sum",
        signature=f"x: number, {WORDS}",
        infer=_reduced,
        numpy=lambda types, attrs: _numpy_total("np.sum", types),
        torch=_torch_sum,
        jax=f"jnp.sum({{x}}, {REDUCED})",
        rows=along_axis,
        doc="The sum over axes; true counts as 1.",
    ),
    Operation(
        name="prod",
        signature=f"x: number, {WORDS}",
        infer=_reduced,
        numpy=lambda types, attrs: _numpy_total("np.prod", types),
        torch=_torch_prod,
        jax=f"jnp.prod({{x}}, {REDUCED})",
        rows=along_axis,
        doc="The product over axes.",
    ),
    _reduction("mean", "np.mean", "torch.mean", "jnp.mean", "The mean over axes; true counts as 1.", kind="float"),
    _reduction("max", "np.max", "torch.amax", "jnp.max", "The largest over axes; equal ones share the gradient."),
    _reduction("min", "np.min", "torch.amin", "jnp.min", "The smallest over axes; equal ones share the gradient."),
    _reduction("any", "np.any", "torch.any", "jnp.any", "Whether one is true.", kind="bool", differentiable=False),
    _reduction("all", "np.all", "torch.all", "jnp.all", "Whether all are true.", kind="bool", differentiable=False),
    Operation(
        name="var",
        signature=f"x: float, {WORDS}",
        infer=_reduced,
        numpy=f"np.var({{x}}, {REDUCED})",
        torch="torch.var({x}, dim={axis}, correction=0, keepdim={keep})",
        jax=f"jnp.var({{x}}, {REDUCED})",
        rows=along_axis,
        doc="The mean of the squared distance from the mean (divided by n).",
    ),
    Operation(
        name="std",
        signature=f"x: float, {WORDS}",
        infer=_reduced,
        numpy=f"np.std({{x}}, {REDUCED})",
        torch="torch.std({x}, dim={axis}, correction=0, keepdim={keep})",
        jax=f"jnp.std({{x}}, {REDUCED})",
        rows=along_axis,
        doc="The square root of `var`. Its gradient is not finite where all values are equal.",
    ),
    Operation(
        name="logsumexp",
        signature=f"x: float, {WORDS}",
        infer=_reduced,
        numpy="logsumexp({x}, axis={axis}, keepdims={keep})",
        torch=_torch_logsumexp,
        jax=f"jax.nn.logsumexp({{x}}, {REDUCED})",
        rows=along_axis,
        doc="log(sum(exp(x))), without overflow.",
    ),
    Operation(
        name="norm",
        signature=f"x: float, {WORDS}",
        infer=_reduced,
        numpy=f"np.sqrt(np.sum(np.square({{x}}), {REDUCED}))",
        torch=f"torch.linalg.vector_norm({{x}}, {TORCH_REDUCED})",
        jax=f"norm({{x}}, {REDUCED})",
        rows=along_axis,
        doc="The Euclidean length over axes; gradient 0 at 0.",
    ),
    Operation(
        name="argmax",
        signature=f"x: number, {WORDS}",
        infer=_place,
        numpy=f"np.argmax({{x}}, {REDUCED}).astype(np.int32)",
        torch=f"torch.argmax({{x}}, {TORCH_REDUCED}).int()",
        jax=f"jnp.argmax({{x}}, {REDUCED})",
        rows=along_one_axis,
        differentiable=False,
        doc="The index of the first largest along one axis; without an axis, in the flattened tensor.",
    ),
    Operation(
        name="argmin",
        signature=f"x: number, {WORDS}",
        infer=_place,
        numpy=f"np.argmin({{x}}, {REDUCED}).astype(np.int32)",
        torch=f"torch.argmin({{x}}, {TORCH_REDUCED}).int()",
        jax=f"jnp.argmin({{x}}, {REDUCED})",
        rows=along_one_axis,
        differentiable=False,
        doc="The index of the first smallest along one axis; without an axis, in the flattened tensor.",
    ),
    Operation(
        name="quantile",
        signature=f"x: float, q: real, {WORDS}",
        infer=_quantile,
        numpy=f"np.quantile({{x}}, np.float32({{q}}), {REDUCED})",
        torch=f"torch.quantile({{x}}, {{q}}, {TORCH_REDUCED})",
        jax=f"jnp.quantile({{x}}, {{q}}, {REDUCED})",
        rows=along_one_axis,
        doc="The value below which a share q lies, linear between neighbours, along one axis or in all.",
    ),
    Operation(
        name="cumsum",
        signature="x: number, axis: axis = -1",
        infer=_along,
        numpy=_numpy_cumsum,
        torch=_torch_cumsum,
        jax="jnp.cumsum({x}, axis={axis})",
        rows=along_axis,
        doc="Running sums along an axis.",
    ),
    Operation(
        name="sort",
        signature="x: number, axis: axis = -1, descending: flag = false",
        infer=_along,
        numpy=_numpy_sort,
        torch="torch.sort({x}, dim={axis}, descending={descending}, stable=True).values",
        jax=_jax_order("jnp.sort"),
        rows=along_axis,
        doc="The values in order along an axis.",
    ),
    Operation(
        name="argsort",
        signature="x: number, axis: axis = -1, descending: flag = false",
        infer=_order,
        numpy=_numpy_argsort,
        torch="torch.argsort({x}, dim={axis}, descending={descending}, stable=True).int()",
        jax=_jax_order("jnp.argsort"),
        rows=along_axis,
        differentiable=False,
        doc="The indices that sort along an axis; equal values keep their order.",
    ),
    Operation(
        name="top_k",
        signature="x: number, k: integer, axis: axis = -1",
        infer=_top_k,
        numpy="top_k({x}, {k}, {axis})",
        torch="top_k({x}, {k}, {axis})",
        jax="top_k({x}, {k}, {axis})",
        rows=along_axis,
        doc="The k largest values along an axis and their indices; of equal values the first come first.",
    ),
)
