"""What operations take beside what they read and give while they compute: copies in another order, indices."""

from __future__ import annotations

from collections.abc import Mapping

from etude.backends.program.dims import evaluate
from etude.backends.program.ir import Op, StageProgram, Sub, callees
from etude.backends.program.types import BYTES
from etude.compiler.liveness import rows_of


def workspace_bytes(program: StageProgram, batch: int, shares: Mapping[str, float]) -> int:
    """The largest workspace of an operation on `batch` rows; `shares` says for some how many times the size of what
    they read and give it is."""
    return _largest(program.sub, batch, shares, {})


def operation_count(program: StageProgram) -> int:
    """How many operations are written in a program, each sub-program once: what a compiler has to read."""
    return sum(len(sub.ops) for sub in _subs(program.sub, {}).values())


def _subs(sub: Sub, found: dict[int, Sub]) -> dict[int, Sub]:
    if id(sub) not in found:
        found[id(sub)] = sub
        for child in sub.children:
            _subs(child.sub, found)
    return found


def _largest(sub: Sub, batch: int, shares: Mapping[str, float], known: dict[tuple[int, int], int]) -> int:
    place = (id(sub), batch)
    if place not in known:
        known[place] = 0
        inner = [
            _largest(sub.children[child].sub, rows_of(op, batch), shares, known)
            for op in sub.ops
            for child in callees(op)
        ]
        own = [int(shares[op.name] * _bytes(op, batch)) for op in sub.ops if op.name in shares]
        known[place] = max([*inner, *own], default=0)
    return known[place]


def _bytes(op: Op, batch: int) -> int:
    """The size of what an operation reads and gives."""
    kinds = [value.type for value in (*op.operands, *op.results)]
    return sum(evaluate(kind.size, batch) * BYTES[kind.dtype] for kind in kinds)
