"""Operations on each element of one tensor."""

from __future__ import annotations

from etude.backends.ops.table import Attributes, Operation, Types
from etude.backends.program.types import DType, TensorType

DTYPES: dict[str, dict[DType, str]] = {
    "numpy": {"bool": "{x}.astype(bool)", "int32": "{x}.astype(np.int32)", "float32": "{x}.astype(np.float32)"},
    "torch": {"bool": "{x}.bool()", "int32": "{x}.int()", "float32": "{x}.float()"},
    "jax": {"bool": "{x}.astype(bool)", "int32": "{x}.astype(jnp.int32)", "float32": "{x}.astype(jnp.float32)"},
}


def _same(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (types[0],)


def _cast(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (types[0].with_dtype(attributes["dtype"]),)


def _unary(name: str, numpy: str, torch: str, jax: str, doc: str, *, kind: str = "float", more: str = "") -> Operation:
    return Operation(
        name=name,
        signature=f"x: {kind}{more}",
        infer=_same,
        numpy=numpy,
        torch=torch,
        jax=jax,
        differentiable=name not in {"sign", "floor", "round", "not"},
        doc=doc,
    )


ROWS = (
    Operation(
        name="cast",
        signature="x: tensor, dtype: dtype",
        infer=_cast,
        numpy=lambda types, attrs: DTYPES["numpy"][attrs["dtype"]],
        torch=lambda types, attrs: DTYPES["torch"][attrs["dtype"]],
        jax=lambda types, attrs: DTYPES["jax"][attrs["dtype"]],
        flops=lambda types, results, attrs: 0,
        doc="Convert to another dtype: floats are cut towards zero, bools become 0 and 1, not-zero becomes true.",
    ),
    _unary("neg", "-{x}", "-{x}", "-{x}", "Negate.", kind="number"),
    _unary("abs", "np.abs({x})", "torch.abs({x})", "absolute({x})", "The magnitude; slope 0 at 0.", kind="number"),
    _unary("sign", "np.sign({x})", "torch.sign({x})", "jnp.sign({x})", "-1, 0 or 1.", kind="number"),
    _unary("square", "np.square({x})", "torch.square({x})", "jnp.square({x})", "The square.", kind="number"),
    _unary("exp", "np.exp({x})", "torch.exp({x})", "jnp.exp({x})", "The exponential."),
    _unary("log", "np.log({x})", "torch.log({x})", "jnp.log({x})", "The natural logarithm."),
    _unary("log1p", "np.log1p({x})", "torch.log1p({x})", "jnp.log1p({x})", "log(1 + x), exact near 0."),
    _unary("sqrt", "np.sqrt({x})", "torch.sqrt({x})", "jnp.sqrt({x})", "The square root."),
    _unary("rsqrt", "1 / np.sqrt({x})", "torch.rsqrt({x})", "lax.rsqrt({x})", "1 / sqrt(x)."),
    _unary("sin", "np.sin({x})", "torch.sin({x})", "jnp.sin({x})", "The sine of an angle in radians."),
    _unary("cos", "np.cos({x})", "torch.cos({x})", "jnp.cos({x})", "The cosine of an angle in radians."),
    _unary("tanh", "np.tanh({x})", "torch.tanh({x})", "jnp.tanh({x})", "The hyperbolic tangent."),
    _unary("sigmoid", "sigmoid({x})", "torch.sigmoid({x})", "jax.nn.sigmoid({x})", "1 / (1 + exp(-x))."),
    _unary("softplus", "np.logaddexp({x}, 0)", "F.softplus({x})", "jax.nn.softplus({x})", "log(1 + exp(x))."),
    _unary("relu", "np.maximum({x}, 0)", "F.relu({x})", "jax.nn.relu({x})", "max(x, 0); slope 0 at 0.", kind="number"),
    _unary(
        "leaky_relu",
        "leaky_relu({x}, {slope})",
        "F.leaky_relu({x}, {slope})",
        "leaky_relu({x}, {slope})",
        "x where positive, else slope * x; slope at 0 is `slope`.",
        more=", slope: real = 0.01",
    ),
    _unary("gelu", "gelu({x})", "F.gelu({x})", "jax.nn.gelu({x}, approximate=False)", "x times the normal CDF; exact."),
    _unary("silu", "silu({x})", "F.silu({x})", "jax.nn.silu({x})", "x * sigmoid(x)."),
    _unary("erf", "erf({x})", "torch.erf({x})", "lax.erf({x})", "The error function."),
    _unary("floor", "np.floor({x})", "torch.floor({x})", "jnp.floor({x})", "Round down; a float."),
    _unary("round", "np.round({x})", "torch.round({x})", "jnp.round({x})", "Round, halves to the even; a float."),
    _unary("not", "~{x}", "~{x}", "~{x}", "The negation of a truth value.", kind="bool"),
    _unary("stop", "{x}", "{x}.detach()", "lax.stop_gradient({x})", "The value, with no gradient.", kind="tensor"),
)
