"""Drop dead operations, merge equal ones and see through what does nothing, as a person would writing it down."""

from __future__ import annotations

from collections.abc import Hashable

from msgspec.structs import replace

from etude.backends.emission.fuse import fuse
from etude.backends.ops import find
from etude.backends.ops.spelling import Framework
from etude.backends.program.ir import CALLING, STRUCTURAL, Child, Literal, Op, Operand, Sub, Value, callees


def simplify(sub: Sub, framework: Framework, done: dict[int, Sub] | None = None) -> Sub:
    """`sub` and all below it as `framework` should do it; `is_random` becomes exact.

    Draws at different sites are never merged, and neither are calls that draw. What updates a running slot is never
    dead.
    A call of a model that returns its input is that input. `done` memoises by object identity.
    """
    memo = {} if done is None else done
    if id(sub) not in memo:
        children = tuple(Child(child.name, simplify(child.sub, framework, memo)) for child in sub.children)
        memo[id(sub)] = fuse(_simplified(replace(sub, children=children)), framework)
    return memo[id(sub)]


def is_stateful(sub: Sub) -> bool:
    """Whether calling `sub` changes running slots."""
    return any(op.name in {"update", "write"} for op in sub.ops) or any(map(is_stateful, _subs(sub)))


def _subs(sub: Sub) -> list[Sub]:
    return [child.sub for child in sub.children]


def is_tabled(op: Op) -> bool:
    """Whether `op` computes something by itself, unlike the structural operations."""
    return op.name not in STRUCTURAL


def is_draw(op: Op, sub: Sub) -> bool:
    """Whether `op` needs a key."""
    if op.name in CALLING:
        return not op.attrs.get("given") and any(sub.children[place].sub.is_random for place in callees(op))
    if op.name == "key":
        return True
    row = find(op.name)
    return row is not None and row.is_random


def _simplified(sub: Sub) -> Sub:
    stateful = [is_stateful(child.sub) for child in sub.children]
    merged, renamed = _merge(sub, stateful)
    outputs = tuple((name, _renamed(value, renamed)) for name, value in sub.outputs)
    ops = _live(merged, outputs, stateful)
    return replace(sub, ops=ops, outputs=outputs, is_random=any(is_draw(op, sub) for op in ops))


def _merge(sub: Sub, stateful: list[bool]) -> tuple[list[Op], dict[int, Operand]]:
    first: dict[Hashable, Op] = {}
    renamed: dict[int, Operand] = {}
    kept = []
    for op in sub.ops:
        operands = tuple(_renamed(operand, renamed) for operand in op.operands)
        op = Op(op.name, operands, op.attributes, op.results)
        passed = _passed_through(op, sub)
        same = op if passed else first.setdefault(_identity(op, sub, stateful), op)
        if passed:
            renamed |= {old.id: new for old, new in zip(op.results, passed, strict=True)}
        elif same is op:
            kept.append(op)
        else:
            renamed |= {old.id: new for old, new in zip(op.results, same.results, strict=True)}
    return kept, renamed


def _passed_through(op: Op, sub: Sub) -> list[Operand] | None:
    """The operands that a call returns, if that is all it does."""
    if op.name != "call":
        return None
    child = sub.children[op.attrs["child"]].sub
    given = {value.id: operand for (_, value), operand in zip(child.inputs, op.operands, strict=True)}
    values = [value.id for _, value in child.outputs if isinstance(value, Value)]
    if child.ops or len(values) < len(child.outputs):
        return None
    return [given[value] for value in values]


def _identity(op: Op, sub: Sub, stateful: list[bool]) -> Hashable:
    operands = tuple(o.id if isinstance(o, Value) else repr(o.value) for o in op.operands)
    attributes: Hashable = op.attributes
    if op.name in {"update", "write"} or (op.name == "read" and any(other.name == "write" for other in sub.ops)):
        return id(op)  # a slot that is written holds something else at each reading
    if op.name == "call":
        child = op.attrs["child"]
        if stateful[child]:
            return id(op)
        attributes = (child, op.attrs["rows"], op.attrs["site"] if sub.children[child].sub.is_random else None)
    return op.name, operands, attributes


def _renamed(operand: Operand, renamed: dict[int, Operand]) -> Operand:
    return operand if isinstance(operand, Literal) else renamed.get(operand.id, operand)


def _live(ops: list[Op], outputs: tuple[tuple[str, Operand], ...], stateful: list[bool]) -> tuple[Op, ...]:
    needed = {value.id for _, value in outputs if isinstance(value, Value)}
    kept = []
    for op in reversed(ops):
        acts = op.name in {"update", "write"} or (op.name == "call" and stateful[op.attrs["child"]])
        if acts or any(result.id in needed for result in op.results):
            kept.append(op)
            needed |= {operand.id for operand in op.operands if isinstance(operand, Value)}
    return tuple(reversed(kept))
