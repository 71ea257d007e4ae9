"""Spell operations around operands: each distinct spelling is made once, and filled in as text where that is safe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from etude.backends.emission.devices import on_device
from etude.backends.emission.fuse import AFFINE
from etude.backends.emission.layout import is_atom
from etude.backends.emission.precision import UP, after, is_lowered, rounded
from etude.backends.ops.spelling import Framework, spell
from etude.backends.ops.spelling import needs_batch as is_batch_named
from etude.backends.program.ir import Literal, Op, Operand
from etude.backends.program.types import TensorType

HOLE = re.compile(r"_(\d+)_")


def spelled(op: Op, framework: Framework, operands: Sequence[str]) -> str:
    """The expression for an operation of the table, or a fused one; the key is the variable `key`."""
    text = template(op, framework)
    if all(is_atom(operand) for operand in operands):
        return HOLE.sub(lambda hole: operands[int(hole[1])], text)
    if op.name == AFFINE:
        x, w, b = operands
        return f"F.linear({x}, {w if is_atom(w) else f'({w})'}.T, {b})"
    if is_lowered(op):
        return after(_placed(spell(op, framework, rounded(op, framework, operands), "key"), framework), UP[framework])
    return _placed(spell(op, framework, operands, "key"), framework)


def template(op: Op, framework: Framework) -> str:
    """The spelling of `op` with `_0_`, `_1_`, ... for its operands."""
    if op.name == AFFINE:
        return "F.linear(_0_, _1_.T, _2_)"
    return _template(_key(op), framework)


def needs_batch(op: Op, framework: Framework) -> bool:
    """Whether the spelling of `op` mentions the size of the batch."""
    return op.name != AFFINE and _needs_batch(_key(op), framework)


class _Shape:
    """What the spelling of an operation depends on, hashed once."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.parts = (op.name, op.attributes, tuple(_operand(o) for o in op.operands))
        self.hash = hash(self.parts)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and self.parts == other.parts


def _key(op: Op) -> _Shape:
    return _Shape(op)


def _operand(operand: Operand) -> TensorType | str:
    return repr(operand.value) if isinstance(operand, Literal) else operand.type


@lru_cache(maxsize=8192)
def _template(shape: _Shape, framework: Framework) -> str:
    holes = [f"_{i}_" for i in range(len(shape.op.operands))]
    if is_lowered(shape.op):
        text = spell(shape.op, framework, rounded(shape.op, framework, holes), "key")
        return after(_placed(text, framework), UP[framework])
    return _placed(spell(shape.op, framework, holes, "key"), framework)


def _placed(text: str, framework: Framework) -> str:
    return on_device(text) if framework == "torch" else text


@lru_cache(maxsize=8192)
def _needs_batch(shape: _Shape, framework: Framework) -> bool:
    return is_batch_named(_template(shape, framework))
