"""The words of a drawn tensor program: shapes, numbers, operations."""

from __future__ import annotations

from typing import Any

from etude.backends.program.dims import Dim
from etude.backends.program.ir import STRUCTURAL, Literal, Op, Sub
from etude.backends.program.types import TensorType
from etude.compiler.draw.picture import TIMES

SYMBOLS = {"add": "+", "sub": "-", "mul": TIMES, "div": "/", "matmul": "@", "pow": "**", "neg": "-"}
HIDDEN_ATTRIBUTES = {"site", "rows", "has", "keep", "literals"}
INNER_ATTRIBUTES = {"child", "children", "start", "stop", "states", "elements", "mapped", "count", "select", "slot"}
LONGEST = 40


def count_text(count: int) -> str:
    """A large number in three digits.

    >>> count_text(23_402)
    '23.4k'
    """
    for size, letter in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)


def type_text(type: TensorType) -> str:
    """A shape; the dtype only where it is not float32.

    >>> type_text(TensorType("int32", ())), type_text(TensorType("float32", (8, 3)))
    ('int32', '[8, 3]')
    """
    shape = f"[{', '.join(map(_dim_text, type.shape))}]" if type.shape else ""
    return shape or "scalar" if type.dtype == "float32" else f"{type.dtype}{shape}"


def _dim_text(dim: Dim) -> str:
    return str(dim).replace("*", "")


def operation_title(op: Op) -> str:
    """The name or the symbol of an operation, with the number that it takes, if any."""
    if op.name == "loop":
        return f"loop {TIMES}{op.attrs['stop'] - op.attrs['start'] + 1}"
    if op.name == "choose":
        return f"choose 1 of {len(op.attrs['children'])}"
    symbol = SYMBOLS.get(op.name, op.name)
    numbers = [operand.value for operand in op.operands if isinstance(operand, Literal)]
    if symbol == op.name or len(op.operands) != 2 or len(numbers) != 1:
        return symbol
    is_left = isinstance(op.operands[0], Literal)
    return f"{numbers[0]:g} {symbol}" if is_left else f"{symbol} {numbers[0]:g}"


def attributes_text(op: Op, longest: int = LONGEST) -> str:
    """The settings of an operation that say something, in a line."""
    hidden = HIDDEN_ATTRIBUTES | INNER_ATTRIBUTES if op.name in STRUCTURAL else HIDDEN_ATTRIBUTES
    shown = [(key, value) for key, value in op.attributes if key not in hidden and value not in (None, ())]
    text = ", ".join(f"{key} {_value_text(value)}" for key, value in shown)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _value_text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_value_text, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def operation_tip(sub: Sub, op: Op) -> str:
    """The names and whole types of the results."""
    lines = [f"{op.name} -> {', '.join(str(result.type) for result in op.results)}"]
    names = [sub.names[result.id] for result in op.results if result.id in sub.names]
    return "\n".join([", ".join(names), *lines]) if names else lines[0]
