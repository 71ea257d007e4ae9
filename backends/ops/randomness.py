"""Random operations. Each draws with a key of its own, by the scheme of `backends/numpy/random.py`."""

from __future__ import annotations

from collections.abc import Callable

from etude.backends.ops.rowwise import Lifting
from etude.backends.ops.shapes import expand_to, ranked
from etude.backends.ops.table import Attributes, OperandError, Operation, Types
from etude.backends.program.dims import Dim
from etude.backends.program.ir import Operand
from etude.backends.program.types import DType, TensorType


def _shaped(dtype: DType) -> Callable[[Types, Attributes], tuple[TensorType, ...]]:
    def infer(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
        for index, kind in enumerate(types):
            expand_to(kind, attributes["shape"], index)
        return (TensorType(dtype, attributes["shape"]),)

    return infer


def _draw_rows(lift: Lifting) -> tuple[Operand, ...]:
    rank = len(lift.attrs.get("shape", ()))
    return lift.draw([lift.ranked(i, rank) for i in range(len(lift.types))])


def _draw_for_rows(lift: Lifting) -> tuple[Operand, ...]:
    return lift.draw([lift.spread(i) for i in range(len(lift.types))])


def _uniform(types: Types, attributes: Attributes) -> str:
    low, span = attributes["low"], attributes["high"] - attributes["low"]
    text = "random.uniform({key}, {shape})"
    text += f" * {span!r}" if span != 1 else ""
    return text + (f" + {low!r}" if low else "")


def _categorical(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    ranked(types[0], 1, None, "logits [..., classes]", 0)
    return (TensorType("int32", types[0].shape[:-1]),)


def _permutation(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (TensorType("int32", (attributes["n"],)),)


def _dropout(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    if not 0 <= attributes["rate"] < 1:
        raise OperandError(f"the rate of dropout lies between 0 and 1, got {attributes['rate']}")
    return (types[0],)


def _image(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    ranked(types[0], 3, 4, "an image [height, width, channels] or a batch of them", 0)
    return (types[0],)


def _free(types: Types, results: Types, attributes: Attributes) -> Dim:
    return 0


def _row(
    name: str,
    signature: str,
    infer: Callable[[Types, Attributes], tuple[TensorType, ...]],
    spelling: str | Callable[[Types, Attributes], str],
    doc: str,
    *,
    bare: tuple[str, ...] = (),
    differentiable: bool = False,
) -> Operation:
    return Operation(
        name=name,
        signature=signature,
        infer=infer,
        numpy=spelling,
        torch=spelling,
        jax=spelling,
        rows=_draw_rows if "shape" in signature else _draw_for_rows,
        bare=bare,
        flops=_free,
        differentiable=differentiable,
        is_random=True,
        doc=doc,
    )


ROWS = (
    _row(
        "uniform",
        "shape: shape, low: real = 0.0, high: real = 1.0",
        _shaped("float32"),
        _uniform,
        "Uniform between low and high (excluded).",
    ),
    _row(
        "normal",
        "shape: shape",
        _shaped("float32"),
        "random.normal({key}, {shape})",
        "Normal with mean 0 and variance 1.",
    ),
    _row(
        "gumbel",
        "shape: shape",
        _shaped("float32"),
        "random.gumbel({key}, {shape})",
        "-log(-log(u)): the noise whose argmax with logits is `categorical`.",
    ),
    _row(
        "bernoulli",
        "p: float, shape: shape",
        _shaped("bool"),
        "random.bernoulli({key}, {p}, {shape})",
        "True with probability p.",
        bare=("p",),
    ),
    _row(
        "beta",
        "a: float, b: float, shape: shape",
        _shaped("float32"),
        "random.beta({key}, {a}, {b}, {shape})",
        "Between 0 and 1, with the density x ** (a - 1) * (1 - x) ** (b - 1): the shares of mixup.",
        bare=("a", "b"),
    ),
    _row(
        "randint",
        "low: int, high: int, shape: shape",
        _shaped("int32"),
        "random.randint({key}, {low}, {high}, {shape})",
        "Integers from low to high, both included.",
        bare=("low", "high"),
    ),
    _row(
        "categorical",
        "logits: float",
        _categorical,
        "random.categorical({key}, {logits})",
        "A class for each distribution softmax(logits) over the last axis.",
    ),
    _row(
        "permutation",
        "n: dim",
        _permutation,
        "random.permutation({key}, {n})",
        "The integers from 0 to n - 1 in random order.",
    ),
    _row(
        "dropout",
        "x: float, rate: real",
        _dropout,
        "random.dropout({key}, {x}, {rate})",
        "Each element zero with probability `rate`, else divided by 1 - rate.",
        differentiable=True,
    ),
    _row(
        "random_shift",
        "x: float, max_shift: integer",
        _image,
        "random.random_shift({key}, {x}, {max_shift})",
        "Each image moved by up to `max_shift` pixels along both axes; zeros come in.",
        differentiable=True,
    ),
    _row(
        "random_flip",
        "x: float",
        _image,
        "random.random_flip({key}, {x})",
        "Each image mirrored from left to right, or not.",
        differentiable=True,
    ),
)
