"""Loops that write a sequence place by place, without computing again what they have computed at the places before.

Such a loop is a `scan` over 0, 1, 2, .. that carries the sequence and puts something at place p + 1. Where the program
shows that, and that what it reads at place p rests on no later place, only place p is computed and the rest is carried.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias, TypeGuard

from msgspec import Struct
from msgspec.structs import replace

from etude.backends.program.builder import Builder
from etude.backends.program.explicit import flat_slots
from etude.backends.program.ir import (
    CALLING,
    HIGHER,
    Child,
    Literal,
    Module,
    Op,
    Operand,
    StageProgram,
    Sub,
    Value,
    callees,
)
from etude.backends.program.placewise import Placewise, Placing, only_called
from etude.backends.program.types import TensorType

Counts: TypeAlias = tuple[int | None, ...]
"""For each input, how many there are if it is 0, 1, 2, .."""


def write_once(program: StageProgram) -> StageProgram:
    """A program of rows, with each loop in it that writes place by place carrying what it has computed."""
    sub = _deep(program.sub, (), {})
    if sub is program.sub:
        return program
    known = dict(enumerate(program.modules))
    modules = [
        known[place] if any(True for _ in flat_slots(child.sub)) else _weightless(child.sub)
        for place, child in enumerate(sub.children)
    ]
    return StageProgram(sub, tuple(modules))


def places_written(sub: Sub, given: Counts = ()) -> int:
    """How many places the loops of a program of a row write one by one; 0 for a program without any."""
    counts = _counts(sub, given)
    total = 0
    for op in sub.ops:
        inner = [places_written(sub.children[place].sub, _handed(op, sub, counts)) for place in _functions(op)]
        if op.name == "each":
            (mapped,) = op.attrs["mapped"]
            elements = [o.type.shape[0] for o, is_element in zip(op.operands, mapped, strict=True) if is_element]
            inner *= elements[0] if isinstance(elements[0], int) else 1
        if op.name == "scan" and _Loop.of(op, list(sub.children), counts) is not None:
            steps = op.operands[op.attrs["states"]].type.shape[0]
            total += steps if isinstance(steps, int) else 0
        total += sum(inner)
    return total


def _functions(op: Op) -> tuple[int, ...]:
    return callees(op) if op.name in HIGHER else ()


def _counts(sub: Sub, given: Counts) -> dict[int, Any]:
    """The values that are 0, 1, 2, .., with how many there are; `given` has those among the inputs."""
    made = {op.results[0].id: op.attrs["n"] for op in sub.ops if op.name == "iota"}
    return made | {value.id: count for (_, value), count in zip(sub.inputs, given, strict=False) if count is not None}


def _handed(op: Op, sub: Sub, counts: dict[int, Any]) -> Counts:
    """The same for the inputs of a function that an `each` calls, which is given what does not change with elements."""
    if op.name != "each" or len(op.attrs["mapped"]) != 1:
        return ()
    (mapped,) = op.attrs["mapped"]
    known = [counts.get(o.id) if isinstance(o, Value) else None for o in op.operands]
    return tuple(None if is_element else each for each, is_element in zip(known, mapped, strict=True))


def _weightless(sub: Sub) -> Module:
    return Module((), tuple(_weightless(child.sub) for child in sub.children))


def _deep(sub: Sub, given: Counts, done: dict[Any, Sub]) -> Sub:
    """`sub` with its loops, and those of the functions that it gives to operations."""
    if (id(sub), given) not in done:
        counts, children = _counts(sub, given), list(sub.children)
        for op in sub.ops:
            for place in _functions(op):
                if sum(place in _functions(other) for other in sub.ops) > 1:
                    continue  # what it is given may differ
                new = _deep(sub.children[place].sub, _handed(op, sub, counts), done)
                if new is not sub.children[place].sub:
                    children[place] = replace(children[place], sub=new)
        is_same = all(new is old for new, old in zip(children, sub.children, strict=True))
        found = sub if is_same else replace(sub, children=tuple(children))
        done[id(sub), given] = _with_caches(found, counts)
    return done[id(sub), given]


def _with_caches(sub: Sub, counts: dict[int, Any]) -> Sub:
    """`sub` with its own loops."""
    free = 1 + max([v.id for _, v in sub.inputs] + [v.id for op in sub.ops for v in op.results], default=-1)
    children, ops = list(sub.children), []
    for op in sub.ops:
        loop = _Loop.of(op, children, counts) if op.name == "scan" else None
        written = loop.written() if loop is not None else None
        if written is None:
            ops.append(op)
            continue
        body, caches = written
        zeros = [Value(free + i, kind) for i, kind in enumerate(caches)]
        last = [Value(free + len(caches) + i, kind) for i, kind in enumerate(caches)]
        free += 2 * len(caches)
        ops += [Op("zeros", (), (("shape", value.type.shape),), (value,)) for value in zeros]
        states, own = op.attrs["states"], op.attrs["child"]
        if sum(own in callees(other) for other in sub.ops) > 1:
            children.append(children[own])
            own = len(children) - 1
        children[own] = Child(children[own].name, body)
        attributes = op.attrs | {"child": own, "states": states + len(caches)}
        operands = (*op.operands[:states], *zeros, *op.operands[states:])
        results = (*op.results[:states], *last, *op.results[states:])
        ops.append(Op("scan", operands, tuple(attributes.items()), results))
    return sub if ops == list(sub.ops) else replace(sub, children=tuple(children), ops=tuple(ops))


class _Loop(Struct):
    """A `scan` that puts something at the next place of a sequence: its body, with the inputs that matter of it."""

    body: Sub
    states: int
    elements: int
    state: Value
    place: Value

    @classmethod
    def of(cls, op: Op, children: list[Child], counts: dict[int, Any]) -> _Loop | None:
        """The loop that a `scan` is; None for one that is another, or draws."""
        body, states, elements = children[op.attrs["child"]].sub, op.attrs["states"], op.attrs["elements"]
        if body.is_random or body.slots or op.attrs.get("mapped"):
            return None
        inputs = list(zip((value for _, value in body.inputs), op.operands, strict=True))
        shared = inputs[states + elements :]  # what is the same in each round
        numbers = {each.results[0].id: each.attrs["n"] for each in body.ops if each.name == "iota"}
        numbers |= {value.id: counts[given.id] for value, given in shared if _is_count(given, counts)}
        places = [(v, counts[o.id]) for v, o in inputs[states : states + elements] if _is_count(o, counts)]
        made = {result.id: each for each in body.ops for result in each.results}
        for place, count in places:
            for number, (state, _) in enumerate(inputs[:states]):
                length = state.type.shape[0] if state.type.rank == 1 else None
                if not isinstance(length, int) or state.type.dtype != "int32" or count > length:
                    continue
                whole = {id for id, each in numbers.items() if each == length}
                if _only_next(body.outputs[number][1], state, place, whole, made):
                    return cls(body, states, elements, state, place)
        return None

    def written(self) -> tuple[Sub, list[TensorType]] | None:
        """The body with caches as further states, and their types; None where it needs all places."""
        body = self.body
        build = Builder(body.name, children=list(body.children), doc=body.doc)
        given = [build.input(name, value.type) for name, value in body.inputs]
        whole: dict[int, Operand] = {old.id: value for (_, old), value in zip(body.inputs, given, strict=True)}
        place = whole[self.place.id]
        assert isinstance(place, Value) and isinstance(self.state.type.shape[0], int)
        made: dict[Any, Placewise | None] = {}
        placing = Placing(self.state.type.shape[0], build, place, made, whole)
        (now,) = build.apply("slice_at", [whole[self.state.id], place], {"length": 1, "axis": 0})
        placing.new[self.state.id], placing.axis[self.state.id] = now, 0
        costly: set[int] = set()
        moving = {value.id for _, value in body.inputs[: self.states + self.elements]}  # another one in each round
        for op in body.ops:
            along = [operand for operand in op.operands if placing.axis_of(operand) is not None]
            is_moving = any(not isinstance(o, Literal) and o.id in moving for o in op.operands)
            moving |= {result.id for result in op.results if is_moving}
            if op.name == "gather" and op.operands[1] == self.place and placing.axis_of(op.operands[0]) == 0:
                (picked,) = build.apply("slice", [placing.at_place(op.operands[0])], {"items": (("index", 0),)})
                placing.whole[op.results[0].id] = picked
                continue
            if along and all(o in along or isinstance(o, Literal) or o.id not in moving for o in op.operands):
                placing.put(op)
            placing.copy(op)
            if op.name in CALLING and along:
                costly |= {value.id for r in op.results if isinstance(value := placing.whole[r.id], Value)}
        if not placing.caches:
            return None
        outputs = [(name, placing.at_all(value)) for name, value in body.outputs]
        after = [(f"next.cache.{i}", value) for i, (_, value) in enumerate(placing.caches)]
        outputs[self.states : self.states] = after
        sub = _in_order(build.build(outputs), self.states, len(placing.caches))
        live = set(_live(sub))
        if costly & live:
            return None
        ops = tuple(op for op in sub.ops if any(result.id in live for result in op.results))
        return only_called(replace(sub, ops=ops)), [before.type for before, _ in placing.caches]


def _is_count(operand: Operand, counts: dict[int, Any]) -> TypeGuard[Value]:
    return isinstance(operand, Value) and isinstance(counts.get(operand.id), int)


def _only_next(after: Operand, state: Value, place: Value, numbers: set[int], made: dict[int, Op]) -> bool:
    """Whether what comes after `state` differs from it only at the place after `place`."""
    op = made.get(after.id) if isinstance(after, Value) else None
    if op is None or op.name != "where" or op.operands[2] != state or op.operands[1].type.rank:
        return False
    waiting = [op.operands[0]]
    while waiting:
        found = waiting.pop()
        each = made.get(found.id) if isinstance(found, Value) else None
        if each is not None and each.name == "and":
            waiting += each.operands
        elif each is not None and each.name == "eq":
            for left, right in (each.operands, each.operands[::-1]):
                is_number = isinstance(left, Value) and left.id in numbers
                if is_number and _is_next(right, place, made):
                    return True
    return False


def _is_next(operand: Operand, place: Value, made: dict[int, Op]) -> bool:
    op = made.get(operand.id) if isinstance(operand, Value) else None
    return op is not None and op.name == "add" and set(op.operands) == {place, Literal(1)}


def _in_order(sub: Sub, states: int, caches: int) -> Sub:
    """The body with its caches behind the other states: they were found last."""
    inputs = sub.inputs
    moved = (*inputs[:states], *inputs[len(inputs) - caches :], *inputs[states : len(inputs) - caches])
    return replace(sub, inputs=moved)


def _live(sub: Sub) -> Iterator[int]:
    """The values that the outputs rest on."""
    made = {result.id: op for op in sub.ops for result in op.results}
    waiting, seen = [value for _, value in sub.outputs], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Value) and value.id not in seen:
            seen.add(value.id)
            yield value.id
            waiting += made[value.id].operands if value.id in made else ()
