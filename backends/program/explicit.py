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
    return any(op.name == "update" for op in sub.ops) or any(updates(child.sub) for child in sub.children)


def explicit(sub: Sub, known: dict[int, Sub] | None = None) -> Sub:
    """`sub` with its slots, and those of all below it, as further inputs in the order of `flat_slots`.

    What it would put into running slots is left out. `known` memoises by object identity.
    """
    memo = {} if known is None else known
    if id(sub) not in memo:
        memo[id(sub)] = _Explicit(sub, memo).sub if any(True for _ in flat_slots(sub)) else sub
    return memo[id(sub)]


class _Explicit:
    def __init__(self, sub: Sub, memo: dict[int, Sub]) -> None:
        self.old = sub
        self.children = tuple(Child(child.name, explicit(child.sub, memo)) for child in sub.children)
        used = [value.id for _, value in sub.inputs] + [value.id for op in sub.ops for value in op.results]
        first = max(used, default=-1) + 1
        self.slots = list(flat_slots(sub))
        self.inputs = [Value(first + i, slot.type) for i, (_, slot) in enumerate(self.slots)]
        self.renamed: dict[int, Value] = {}
        ops = tuple(new for op in sub.ops for new in self._op(op))
        named = [(path.replace(".", "_"), value) for (path, _), value in zip(self.slots, self.inputs, strict=True)]
        names = sub.names | {value.id: name for name, value in named}
        outputs = tuple((name, self._operand(value)) for name, value in sub.outputs)
        inputs = (*sub.inputs, *named)
        self.sub = replace(sub, inputs=inputs, slots=(), children=self.children, ops=ops, outputs=outputs, names=names)

    def _op(self, op: Op) -> list[Op]:
        """An operation with weights among its operands; nothing for one that only names a weight."""
        if op.name == "update":
            return []
        if op.name in {"weight", "read"}:
            place = op.attrs["slot"]
            if op.name == "read":
                place += self._below(op.attrs["child"])
            self.renamed[op.results[0].id] = self.inputs[place]
            return []
        operands = tuple(self._operand(operand) for operand in op.operands)
        if op.name == "call":
            start, child = self._below(op.attrs["child"]), self.old.children[op.attrs["child"]].sub
            operands += tuple(self.inputs[start : start + sum(1 for _ in flat_slots(child))])
        return [replace(op, operands=operands)]

    def _below(self, child: int) -> int:
        """The place of a child's first weight among all."""
        before = self.old.children[:child]
        return len(self.old.slots) + sum(1 for each in before for _ in flat_slots(each.sub))

    def _operand(self, operand: Operand) -> Operand:
        return operand if isinstance(operand, Literal) else self.renamed.get(operand.id, operand)
