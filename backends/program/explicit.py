"""Models as plain functions of their weights: what derivatives by weights are taken of."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from etude.backends.program.ir import Child, Literal, Op, Operand, Slot, Sub, Value


def flat_slots(sub: Sub, prefix: str = "") -> Iterator[tuple[str, Slot]]:
    """All slots at and below a sub-program with their paths: own ones first, then child by child."""
    for slot in sub.slots:
        yield f"{prefix}{slot.name}", slot
    for child in sub.children:
        yield from flat_slots(child.sub, f"{prefix}{child.name}.")


def updates(sub: Sub) -> bool:
    """Whether calling a model puts something into running slots."""
    return bool(moved(sub))


def moved(sub: Sub) -> tuple[int, ...]:
    """The places, among all slots at and below a model, of those that a call of it puts something into."""
    known: tuple[int, ...] | None = sub.__dict__.get("_moved")
    if known is None:
        found: set[int] = set()
        for op in sub.ops:
            if op.name == "update":
                found.add(op.attrs["slot"])
            elif op.name == "write":
                found.add(below(sub, op.attrs["child"]) + op.attrs["slot"])
            elif op.name == "call":
                start = below(sub, op.attrs["child"])
                found |= {start + place for place in moved(sub.children[op.attrs["child"]].sub)}
        known = sub.__dict__["_moved"] = tuple(sorted(found))
    return known


def below(sub: Sub, child: int) -> int:
    """The place of a child's first weight among all of a sub-program."""
    return len(sub.slots) + sum(1 for each in sub.children[:child] for _ in flat_slots(each.sub))


def explicit(sub: Sub, *, moving: bool = False, known: dict[tuple[int, bool], Sub] | None = None) -> Sub:
    """`sub` with its slots, and those of all below it, as further inputs in the order of `flat_slots`.

    With `moving`, what it puts into running slots are further outputs, in the order of `moved`; else they are left out.
    `known` memoises by object identity.
    """
    memo = {} if known is None else known
    moving = moving and updates(sub)
    if (id(sub), moving) not in memo:
        has_slots = any(True for _ in flat_slots(sub))
        memo[id(sub), moving] = _Explicit(sub, moving, memo).run() if has_slots else sub
    return memo[id(sub), moving]


class _Explicit:
    def __init__(self, sub: Sub, moving: bool, memo: dict[tuple[int, bool], Sub]) -> None:
        self.old, self.moving = sub, moving
        self.children = tuple(Child(each.name, explicit(each.sub, moving=moving, known=memo)) for each in sub.children)
        used = [value.id for _, value in sub.inputs] + [value.id for op in sub.ops for value in op.results]
        first = max(used, default=-1) + 1
        self.slots = list(flat_slots(sub))
        self.inputs = [Value(first + i, slot.type) for i, (_, slot) in enumerate(self.slots)]
        self.current: list[Operand] = list(self.inputs)  # what each slot holds by now
        self.free = first + len(self.inputs)
        self.renamed: dict[int, int] = {}

    def run(self) -> Sub:
        sub = self.old
        ops = tuple(new for op in sub.ops for new in self._op(op))
        named = [(path.replace(".", "_"), value) for (path, _), value in zip(self.slots, self.inputs, strict=True)]
        names = sub.names | {value.id: name for name, value in named}
        outputs = [(name, self._operand(value)) for name, value in sub.outputs]
        if self.moving:
            outputs += [(f"@running.{place}", self.current[place]) for place in moved(sub)]
        inputs, children = (*sub.inputs, *named), self.children
        return replace(sub, inputs=inputs, slots=(), children=children, ops=ops, outputs=tuple(outputs), names=names)

    def _op(self, op: Op) -> list[Op]:
        """An operation with weights among its operands; nothing for one that only names or moves a weight."""
        if op.name in {"weight", "read"}:
            self.renamed[op.results[0].id] = self._place(op)
            return []
        if op.name in {"update", "write"}:
            if self.moving:
                self.current[self._place(op)] = self._operand(op.operands[0])
            return []
        operands = tuple(self._operand(operand) for operand in op.operands)
        if op.name != "call":
            return [replace(op, operands=operands)]
        start, child = below(self.old, op.attrs["child"]), self.old.children[op.attrs["child"]].sub
        operands += tuple(self.current[start : start + sum(1 for _ in flat_slots(child))])
        return [replace(op, operands=operands, results=(*op.results, *self._moved(start, child)))]

    def _moved(self, start: int, child: Sub) -> list[Value]:
        """What a call of a child puts into running slots, as further results."""
        places = [start + place for place in moved(child)] if self.moving else []
        made = [Value(self.free + number, self.slots[place][1].type) for number, place in enumerate(places)]
        self.free += len(made)
        for place, value in zip(places, made, strict=True):
            self.current[place] = value
        return made

    def _place(self, op: Op) -> int:
        """The place, among all, of the slot that an operation names."""
        slot = int(op.attrs["slot"])
        return slot + below(self.old, op.attrs["child"]) if op.name in {"read", "write"} else slot

    def _operand(self, operand: Operand) -> Operand:
        if isinstance(operand, Literal):
            return operand
        return self.current[self.renamed[operand.id]] if operand.id in self.renamed else operand
