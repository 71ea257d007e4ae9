"""Round what enters and what leaves products to bfloat16: the precision "bf16".

Matrix products, convolutions and attention take most of the time of a step and lose least by it. The framework adds up
in float32; gradients pass through the same roundings backwards. Everything else, weights included, stays float32.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from etude.backends.numerics import Precision
from etude.backends.ops.spelling import Framework
from etude.backends.program.ir import Child, Literal, Op, Sub

PRODUCTS = frozenset({"matmul", "einsum", "conv", "conv_transpose", "attention"})
MARK = ("bf16", True)
DOWN: dict[Framework, str] = {"torch": ".bfloat16()", "jax": ".astype(jnp.bfloat16)"}
UP: dict[Framework, str] = {"torch": ".float()", "jax": ".astype(jnp.float32)"}


def lowered(sub: Sub, precision: Precision, done: dict[int, Sub] | None = None) -> Sub:
    """`sub` and all below it with its products marked for `precision`; `done` memoises by object identity."""
    if precision == "float32":
        return sub
    memo = {} if done is None else done
    if id(sub) not in memo:
        children = tuple(Child(child.name, lowered(child.sub, precision, memo)) for child in sub.children)
        memo[id(sub)] = replace(sub, children=children, ops=tuple(map(_lowered, sub.ops)))
    return memo[id(sub)]


def _lowered(op: Op) -> Op:
    if op.name not in PRODUCTS or op.results[0].type.dtype != "float32":
        return op
    return Op(op.name, op.operands, (*op.attributes, MARK), op.results)


def is_lowered(op: Op) -> bool:
    """Whether an operation takes and gives rounded numbers."""
    return op.name in PRODUCTS and MARK in op.attributes


def rounded(op: Op, framework: Framework, operands: Sequence[str]) -> list[str]:
    """The texts of the operands, in bfloat16 where they are floating-point tensors."""
    return [
        after(text, DOWN[framework]) if operand.type.dtype == "float32" and not isinstance(operand, Literal) else text
        for operand, text in zip(op.operands, operands, strict=True)
    ]


def after(text: str, method: str) -> str:
    """A call of a method of what `text`, an expression, gives.

    >>> after("x @ w", ".float()")
    '(x @ w).float()'
    """
    from etude.backends.emission.layout import is_atom

    return f"{text}{method}" if is_atom(text) else f"({text}){method}"
