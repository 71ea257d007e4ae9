"""Models through some of whose weights no gradient goes."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from etude.backends.program.explicit import below, flat_slots
from etude.backends.program.ir import Child, Op, Sub, Value


def stopped(sub: Sub, slots: Sequence[bool]) -> Sub:
    """`sub` with a `stop` behind those of its weights, and of all below it, that are marked: as in `flat_slots`."""
    if not any(slots):
        return sub
    children = []
    for place, child in enumerate(sub.children):
        start = below(sub, place)
        count = sum(1 for _ in flat_slots(child.sub))
        children.append(Child(child.name, stopped(child.sub, slots[start : start + count])))
    used = [value.id for _, value in sub.inputs] + [value.id for op in sub.ops for value in op.results]
    free, ops = max(used, default=-1) + 1, list[Op]()
    for op in sub.ops:
        if op.name in {"weight", "read"} and slots[_place(sub, op)]:
            (result,) = op.results
            plain = Value(free, result.type)
            free += 1
            ops += [replace(op, results=(plain,)), Op("stop", (plain,), (), (result,))]
        else:
            ops.append(op)
    return replace(sub, children=tuple(children), ops=tuple(ops))


def _place(sub: Sub, op: Op) -> int:
    """The place, among all, of the weight that an operation gives."""
    slot = int(op.attrs["slot"])
    return slot + below(sub, op.attrs["child"]) if op.name == "read" else slot
