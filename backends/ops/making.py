"""Tensors from nothing, and masks by position."""

from __future__ import annotations

from typing import Any

from etude.backends.ops.literals import literal_text
from etude.backends.ops.rowwise import Lifting, with_batch_in
from etude.backends.ops.shapes import expand_to, ranked
from etude.backends.ops.table import Attributes, OperandError, Operation, Types
from etude.backends.program.dims import Dim
from etude.backends.program.ir import Operand
from etude.backends.program.types import TensorType


def _shaped(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType("float32", attributes["shape"]),)


def _full(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    expand_to(types[0], attributes["shape"], 0)
    return (types[0].with_shape(attributes["shape"]),)


def _torch_full(types: Types, attributes: Attributes) -> str:
    if "value" not in attributes["literals"]:
        return "torch.broadcast_to({value}, {shape})"
    dtype = ", dtype=torch.int32" if types[0].dtype == "int32" else ""
    return f"torch.full({{shape}}, {literal_text(attributes['literals']['value'])}{dtype})"


def _count(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType("int32", (attributes["n"],)),)


def _square(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType("float32", (attributes["n"], attributes["n"])),)


def _number(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType("int32"),)


def _matrix(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    ranked(types[0], 2, None, "a matrix (the last two axes)", 0)
    return (types[0],)


def _values(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    values = attributes["values"]
    shape, numbers = _measure(values), _numbers(values)
    kinds = {type(number) for number in numbers}
    if kinds - {bool, int, float} or not numbers:
        raise OperandError("a tensor is made of a number, or of a list of numbers, or of lists of one length each")
    return (TensorType("float32" if float in kinds else "int32" if int in kinds else "bool", shape),)


def _measure(values: Any) -> tuple[int, ...]:
    """The shape of nested tuples. Raises `OperandError` where they are uneven."""
    if not isinstance(values, tuple):
        return ()
    shapes = {_measure(value) for value in values}
    if len(shapes) != 1:
        raise OperandError("the lists that a tensor is made of have one length each")
    return (len(values), *shapes.pop())


def _numbers(values: Any) -> list[Any]:
    return [number for value in values for number in _numbers(value)] if isinstance(values, tuple) else [values]


def _numpy_values(types: Types, attributes: Attributes) -> str:
    return f"np.array({{values}}, np.{'bool_' if _dtype(attributes) == 'bool' else _dtype(attributes)})"


def _torch_values(types: Types, attributes: Attributes) -> str:
    return f"torch.tensor({{values}}, dtype=torch.{_dtype(attributes)})"


def _jax_values(types: Types, attributes: Attributes) -> str:
    return f"jnp.array({{values}}, jnp.{'bool_' if _dtype(attributes) == 'bool' else _dtype(attributes)})"


def _dtype(attributes: Attributes) -> str:
    return _values((), attributes)[0].dtype


def _free(types: Types, results: Types, attributes: Attributes) -> Dim:
    return 0


def _as_it_is(lift: Lifting) -> tuple[Operand, ...]:
    return lift.apply(lift.name, lift.operands, **lift.attrs)


ROWS = (
    Operation(
        name="zeros",
        signature="shape: shape",
        infer=_shaped,
        numpy="np.zeros({shape}, np.float32)",
        torch="torch.zeros({shape})",
        jax="jnp.zeros({shape})",
        flops=_free,
        doc="Zeros, as floats.",
    ),
    Operation(
        name="ones",
        signature="shape: shape",
        infer=_shaped,
        numpy="np.ones({shape}, np.float32)",
        torch="torch.ones({shape})",
        jax="jnp.ones({shape})",
        flops=_free,
        doc="Ones, as floats.",
    ),
    Operation(
        name="full",
        signature="value: tensor, shape: shape",
        infer=_full,
        numpy="np.full({shape}, {value})",
        torch=_torch_full,
        jax="jnp.full({shape}, {value})",
        rows=with_batch_in("shape"),
        flops=_free,
        doc="One value everywhere; it has the dtype of the value.",
    ),
    Operation(
        name="tensor",
        signature="values: values",
        infer=_values,
        numpy=_numpy_values,
        torch=_torch_values,
        jax=_jax_values,
        flops=_free,
        doc="Numbers that stand in the recipe: floats if one of them is, else ints or truth values.",
    ),
    Operation(
        name="iota",
        signature="n: dim",
        infer=_count,
        numpy="np.arange({n}, dtype=np.int32)",
        torch="torch.arange({n}, dtype=torch.int32)",
        jax="jnp.arange({n})",
        flops=_free,
        doc="The integers from 0 to n - 1.",
    ),
    Operation(
        name="size",
        signature="n: dim",
        infer=_number,
        numpy="np.int32({n})",
        torch="torch.full((), {n}, dtype=torch.int32)",
        jax="jnp.int32({n})",
        flops=_free,
        doc="A dimension as a number that takes part in arithmetic.",
    ),
    Operation(
        name="eye",
        signature="n: dim",
        infer=_square,
        numpy="np.eye({n}, dtype=np.float32)",
        torch="torch.eye({n})",
        jax="jnp.eye({n})",
        flops=_free,
        doc="The identity matrix, as floats.",
    ),
    Operation(
        name="tril",
        signature="x: tensor, k: integer = 0",
        infer=_matrix,
        numpy="np.tril({x}, {k})",
        torch="torch.tril({x}, {k})",
        jax="jnp.tril({x}, {k})",
        rows=_as_it_is,
        flops=_free,
        doc="The part on and below diagonal k of the last two axes; zero elsewhere.",
    ),
    Operation(
        name="triu",
        signature="x: tensor, k: integer = 0",
        infer=_matrix,
        numpy="np.triu({x}, {k})",
        torch="torch.triu({x}, {k})",
        jax="jnp.triu({x}, {k})",
        rows=_as_it_is,
        flops=_free,
        doc="The part on and above diagonal k of the last two axes; zero elsewhere.",
    ),
)
