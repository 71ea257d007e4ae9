"""What tensor programs cost: floating-point operations, bytes moved, memory. Counted from shapes, nothing is run."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct

from etude.backends.ops import find
from etude.backends.program.dims import evaluate
from etude.backends.program.ir import Literal, Module, Op, Operand, StageProgram, Sub
from etude.backends.program.types import BYTES, TensorType

BACKWARD = 2  # a backward pass costs two forward passes: gradients of the inputs and of the weights


class Cost(Struct, frozen=True):
    """One evaluation of a program. `bytes` are read and written, `kept` is the size of all that it computes."""

    flops: int = 0
    bytes: int = 0
    kept: int = 0
    operations: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flops + other.flops,
            self.bytes + other.bytes,
            self.kept + other.kept,
            self.operations + other.operations,
        )

    def times(self, factor: int) -> Cost:
        """The cost of doing it so often, one after the other: what is kept does not grow."""
        return Cost(self.flops * factor, self.bytes * factor, self.kept, self.operations * factor)

    def backwards(self) -> Cost:
        """The cost with the backward pass of what has no weights of its own: it reads them."""
        passes = 1 + BACKWARD
        return Cost(self.flops * passes, self.bytes * passes, self.kept, self.operations * passes)


def program_cost(program: StageProgram, batch: int, learning: Collection[int] = ()) -> Cost:
    """One evaluation on `batch` rows; with the backward pass where weights with the slots of `learning` are behind."""
    return _sub_cost(program.sub, Module((), program.modules), batch, frozenset(learning), {})


def weight_bytes(program: StageProgram, slots: Collection[int] | None = None) -> int:
    """The size of the weights of a program, tied ones once; only of those in `slots`, if given."""
    found: dict[int, int] = {}
    for sub, module in _modules(program.sub, Module((), program.modules)):
        for slot, index in zip(sub.slots, module.slots, strict=True):
            found[index] = _bytes(slot.type, 1)
    return sum(size for index, size in found.items() if slots is None or index in slots)


def _modules(sub: Sub, module: Module) -> Iterator[tuple[Sub, Module]]:
    if module.slots:
        yield sub, module
    for child, inner in zip(sub.children, module.children, strict=True):
        yield from _modules(child.sub, inner)


def _sub_cost(
    sub: Sub, module: Module, batch: int, learning: frozenset[int], known: dict[tuple[int, int, bool], Cost]
) -> Cost:
    learns = any(index in learning for _, inner in _modules(sub, module) for index in inner.slots)
    place = (id(sub), batch, learns)
    if place not in known:
        cost = Cost()
        for op in sub.ops:
            if op.name == "call":
                index = op.attrs["child"]
                inner = _sub_cost(sub.children[index].sub, module.children[index], _rows(op, batch), learning, known)
                cost += inner
            elif op.name == "grad":
                child, rows = op.attrs["child"], batch if op.attrs["mapped"] else 1
                inner = _sub_cost(
                    sub.children[child].sub, module.children[child], 1 if op.attrs["mapped"] else batch, learning, known
                )
                cost += inner.times((1 + BACKWARD) * rows)
            elif op.name == "apply":
                index = op.attrs["child"]
                cost += _sub_cost(sub.children[index].sub, module.children[index], batch, learning, known)
            elif op.name in {"each", "scan", "loop"}:
                child, rows = op.attrs["child"], elements(op, batch)
                inner = _sub_cost(sub.children[child].sub, module.children[child], batch, learning, known)
                cost += (inner.backwards() if learns else inner).times(rows)
            elif op.name == "choose":
                found = [
                    _sub_cost(sub.children[place].sub, module.children[place], batch, learning, known)
                    for place in op.attrs["children"]
                ]
                chosen = (
                    sum(found, Cost()) if op.attrs["select"] else max(found, key=lambda one: (one.flops, one.bytes))
                )
                cost += chosen.backwards() if learns else chosen
            elif op.name != "weight":
                cost += _op_cost(op, batch, 1 + BACKWARD * learns)
        known[place] = cost
    return known[place]


def _rows(op: Op, batch: int) -> int:
    """The batch that a called model sees: one row, or the first dimension of what it is given."""
    if op.attrs.get("rows") or not op.operands:
        return 1
    shape = op.operands[0].type.shape
    return evaluate(shape[0], batch) if shape else 1


def elements(op: Op, batch: int) -> int:
    """How often an `each`, a `scan` or a `loop` computes its function."""
    if op.name == "loop":
        return int(op.attrs["stop"] - op.attrs["start"] + 1)
    levels = op.attrs["mapped"]
    sizes = [_size(op, levels[:depth], flags.index(True), batch) for depth, flags in enumerate(levels)]
    if op.name == "scan":
        sizes.append(_size(op, levels, op.attrs["states"], batch))
    return math.prod(sizes)


def _size(op: Op, levels: Sequence[Sequence[bool]], place: int, batch: int) -> int:
    """The first axis of an operand that is left when these levels have taken theirs."""
    taken = sum(1 for flags in levels if flags[place])
    return evaluate(op.operands[place].type.shape[taken], batch)


def _op_cost(op: Op, batch: int, passes: int) -> Cost:
    operation = find(op.name)
    if operation is None:
        return Cost()
    results = tuple(value.type for value in op.results)
    operands = [operand.type for operand in op.operands]
    flops = evaluate(operation.work(operands, results, op.attrs), batch)
    made = sum(_bytes(kind, batch) for kind in results)
    read = sum(_bytes(operand.type, batch) for operand in op.operands if not _is_number(operand))
    return Cost(flops * passes, (read + made) * passes, made, passes)


def _is_number(operand: Operand) -> bool:
    return isinstance(operand, Literal)


def _bytes(kind: TensorType, batch: int) -> int:
    return evaluate(kind.size, batch) * BYTES[kind.dtype]
