"""Operations on two or three tensors, element by element, with numpy's broadcasting."""

from __future__ import annotations

from etude.backends.ops.shapes import broadcast
from etude.backends.ops.table import Attributes, Operation, Types
from etude.backends.program.types import TensorType


def _broadcast(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType(types[0].dtype, broadcast(types)),)


def _truth(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType("bool", broadcast(types)),)


def _where(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType(types[1].dtype, broadcast(types)),)


def _operator(name: str, symbol: str, doc: str, kind: str = "number") -> Operation:
    text = f"{{x}} {symbol} {{y}}"
    return Operation(
        name=name,
        signature=f"x: {kind}, y: {kind}",
        infer=_broadcast,
        numpy=text,
        torch=text,
        jax=text,
        differentiable=name not in {"floordiv", "and", "or"},
        doc=doc,
    )


def _comparison(name: str, symbol: str, doc: str, kind: str = "number") -> Operation:
    text = f"{{x}} {symbol} {{y}}"
    signature = f"x: {kind}, y: {kind}"
    return Operation(
        name=name, signature=signature, infer=_truth, numpy=text, torch=text, jax=text, differentiable=False, doc=doc
    )


def _torch_clip(types: Types, attributes: Attributes) -> str:
    if ("low" in attributes["literals"]) != ("high" in attributes["literals"]):
        return "{x}.clamp(min={low}).clamp(max={high})"
    return "torch.clamp({x}, {low}, {high})"


ROWS = (
    _operator("add", "+", "The sum."),
    _operator("sub", "-", "The difference."),
    _operator("mul", "*", "The product."),
    _operator("div", "/", "The quotient; always a float.", kind="float"),
    _operator("floordiv", "//", "The quotient, rounded down."),
    _operator("mod", "%", "The remainder of `//`: it has the sign of the divisor."),
    _operator("pow", "**", "x to the power y. For ints the power must not be negative."),
    _operator("and", "&", "True where both are.", kind="bool"),
    _operator("or", "|", "True where one is.", kind="bool"),
    _comparison("lt", "<", "True where x is less."),
    _comparison("le", "<=", "True where x is less or equal."),
    _comparison("gt", ">", "True where x is greater."),
    _comparison("ge", ">=", "True where x is greater or equal."),
    _comparison("eq", "==", "True where both are equal.", kind="same"),
    _comparison("ne", "!=", "True where they differ.", kind="same"),
    Operation(
        name="maximum",
        signature="x: number, y: number",
        infer=_broadcast,
        numpy="np.maximum({x}, {y})",
        torch="torch.maximum({x}, {y})",
        jax="jnp.maximum({x}, {y})",
        doc="The larger of two; where they are equal, each gets half of the gradient.",
    ),
    Operation(
        name="minimum",
        signature="x: number, y: number",
        infer=_broadcast,
        numpy="np.minimum({x}, {y})",
        torch="torch.minimum({x}, {y})",
        jax="jnp.minimum({x}, {y})",
        doc="The smaller of two; where they are equal, each gets half of the gradient.",
    ),
    Operation(
        name="where",
        signature="condition: bool, x: same, y: same",
        infer=_where,
        numpy="np.where({condition}, {x}, {y})",
        torch="torch.where({condition}, {x}, {y})",
        jax="jnp.where({condition}, {x}, {y})",
        bare=("x", "y"),
        doc="x where the condition is true, else y.",
    ),
    Operation(
        name="clip",
        signature="x: number, low: number, high: number",
        infer=_broadcast,
        numpy="np.clip({x}, {low}, {high})",
        torch=_torch_clip,
        jax="clip({x}, {low}, {high})",
        bare=("low", "high"),
        doc="x held between low and high; at the limits the gradient passes.",
    ),
)
