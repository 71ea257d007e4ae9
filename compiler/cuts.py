"""Cut the operations between some values and others out of a program, as a function of its own.

The function is a child without weights. What it reads beside the values in question are further inputs, and the models
that it calls become functions of their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from etude.backends.ops import find
from etude.backends.program.builder import Builder
from etude.backends.program.dims import Size
from etude.backends.program.explicit import explicit, flat_slots, moved, updates
from etude.backends.program.inner import call_on_row, on_one_row
from etude.backends.program.ir import CALLING, Child, Op, Operand, Sub, Value, callees, recalled
from etude.backends.program.ir import Literal as Constant
from etude.backends.program.outline import outline
from etude.compiler.diagnostics import Location
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, Origins
from etude.compiler.trees import read
from etude.compiler.values import AnyOrigin

Holds = Literal["what depends", "draws", "all"]
OUTER = frozenset({"read", "weight", "placeholder"})  # these stay where they are: others may read them too


def explicit_model(session: Session, sub: Sub, *, moving: bool = False) -> Sub:
    """A model's sub-program as a function of its weights, with `moving` also to its statistics; one object for each."""
    known: dict[Any, Any] = session.memo.setdefault("explicit", {})
    if (id(sub), moving) not in known:
        # the sub-program is kept, so that nothing else gets its id
        known[id(sub), moving] = (sub, explicit(sub, moving=moving))
    found: Sub = known[id(sub), moving][1]
    return found


class Cut:
    """The operations between the values `by` and a number, while they are copied into a function."""

    def __init__(
        self, session: Session, frame: Frame, by: Sequence[Value], location: Location, name: str = "value"
    ) -> None:
        self.name, self.since, self.holds, self.threads = name, 0, "what depends", False
        self.session, self.frame, self.by, self.location = session, frame, by, location
        self.build = Builder(name)
        self.inputs: dict[int, Operand] = {value.id: self._input(value) for value in by}
        self.captured: list[Value] = []
        self.children: dict[int, int] = {}
        self.weights = self._weights()
        self.depends = {value.id for value in by}
        self.ops: list[Op] = []
        self.is_random = False
        self.moving: dict[AnyOrigin, Value] = {}  # statistics that the function moves, by what is read of them before
        self.current: dict[AnyOrigin, Operand] = {}  # what they are by now
        self.reads: dict[int, AnyOrigin] = {}

    def _weights(self) -> dict[AnyOrigin, Value]:
        """The weights among `by`, by origin: calls of models depend on them without naming them."""
        found = {}
        for (child, place), value in self.frame.reads.items():
            if any(value == each for each in self.by):
                found[self.frame.child_origins[child].flat[place]] = value
        return found

    def inside(self, since: int, holds: Holds, *, threads: bool) -> None:
        """Of the operations from this place on hold also those that draw, or all, whatever they depend on.

        With `threads`, also those that move running statistics, which become states of the function.
        """
        self.since, self.holds, self.threads = since, holds, threads

    def follow(self, values: Sequence[Operand]) -> None:
        """Find the operations that depend on `by` and that some values depend on."""
        if self.threads:
            self._find_moving()
        ops = list(self.frame.builder.ops)
        held = {id(op) for op in ops[self.since :] if self._is_held(op)}
        for op in ops:
            if id(op) in held or self._depends(op):
                self.depends |= {result.id for result in op.results}
        needed = {value.id for value in values if isinstance(value, Value)}
        for op in reversed(ops):
            acts = self.threads and id(op) in held and self.moves(op)
            if acts or (any(result.id in needed for result in op.results) and (id(op) in held or self._depends(op))):
                self.ops.append(op)
                needed |= {operand.id for operand in op.operands if isinstance(operand, Value)}
        self.ops = [op for op in reversed(self.ops) if not any(result.id in self.inputs for result in op.results)]
        self.is_random = any(self.draws(op) for op in self.ops)

    def _find_moving(self) -> None:
        """Find the running statistics that the function moves, and make them inputs of it."""
        places = [place for op in self.frame.builder.ops[self.since :] for place in self._moved(op)]
        self.moving = {self.frame.child_origins[child].flat[slot]: self._read(child, slot) for child, slot in places}
        for op in self.frame.builder.ops:
            if op.name == "read" and (origin := self._origins(op)[op.attrs["slot"]]) in self.moving:
                self.reads[op.results[0].id] = origin
        self.current = {origin: self._input(value) for origin, value in self.moving.items()}

    def _read(self, child: int, slot: int) -> Value:
        found = read(self.frame, self.frame.child_origins[child].flat[slot], self.location)
        assert isinstance(found.operand, Value)
        return found.operand

    def _moved(self, op: Op) -> list[tuple[int, int]]:
        """The statistics that an operation moves: the child that has them, and the place among its weights."""
        if op.name == "write":
            return [(op.attrs["child"], op.attrs["slot"])]
        return [(op.attrs["child"], slot) for slot in moved(self.child(op).sub)] if op.name == "call" else []

    def moves(self, op: Op) -> bool:
        """Whether an operation moves running statistics."""
        return op.name == "write" or (op.name == "call" and updates(self.child(op).sub))

    def _is_held(self, op: Op) -> bool:
        if self.threads and self.moves(op):
            return True
        return self.holds != "what depends" and op.name not in OUTER and (self.holds == "all" or self.draws(op))

    def _depends(self, op: Op) -> bool:
        ids = [operand.id for operand in op.operands if isinstance(operand, Value)]
        if any(each in self.depends or each in self.reads for each in ids):
            return True
        if op.name == "read":
            return self._origins(op)[op.attrs["slot"]] in self.weights
        return op.name == "call" and any(origin in self.weights for origin in self._origins(op))

    def _origins(self, op: Op) -> tuple[AnyOrigin, ...]:
        return self.frame.child_origins[int(op.attrs["child"])].flat

    def dependent(self, since: int) -> list[Op]:
        """The operations from a place on that depend on `by`."""
        return [op for op in self.frame.builder.ops[since:] if self._depends(op)]

    def draws(self, op: Op) -> bool:
        """Whether an operation needs random numbers."""
        if op.name in CALLING:
            return any(self.frame.builder.children[place].sub.is_random for place in callees(op))
        row = find(op.name)
        return op.name == "key" or (row is not None and row.is_random)

    def child(self, op: Op) -> Child:
        """The child that an operation calls."""
        return self.frame.builder.children[int(op.attrs["child"])]

    # --- the function ---

    def function(self, outputs: Sequence[tuple[str, Operand]], keys: Sequence[tuple[int, Value]] = ()) -> Sub:
        """The copied operations as a sub-program; `captured` are the values that it is given after `by`.

        Of the operations up to each place of `keys`, from the one before, the draws are by the key that stands there.
        """
        ends = [0]
        for op in self.ops:
            self._copy(op)
            ends.append(len(self.build.ops))
        made = [self._operand(value) for _, value in outputs]
        starts = [0, *(ends[count] for count, _ in keys)]
        for start, (count, key) in reversed(list(zip(starts, keys, strict=False))):
            outline(self.build, start, ends[count], self._operand(key), made)
        found = [(name, self._operand(value)) for name, value in outputs]
        found += [(f"@running.{number}", value) for number, value in enumerate(self.current.values())]
        if self._mentions_batch() and not any(_has_batch(kind) for _, kind in self.build.inputs):
            sized = next(v for _, v in self.frame.builder.inputs if _has_batch(v))
            self._operand(sized)
        self.build.is_random = self.is_random
        return self.build.build(found)

    def origins(self) -> Origins:
        return Origins((), tuple(_empty(child.sub) for child in self.build.children))

    def _copy(self, op: Op) -> None:
        if op.name == "read":
            self.inputs[op.results[0].id] = self.inputs[self.weights[self._origins(op)[op.attrs["slot"]]].id]
            return
        if op.name == "call":
            self._call(op)
            return
        if op.name == "write":
            self.current[self._origins(op)[op.attrs["slot"]]] = self._operand(op.operands[0])
            return
        attributes = recalled(op, self._function_taken).attrs
        operands = [self._operand(operand) for operand in op.operands]
        self._bind(op, self.build.append(op.name, operands, attributes, [result.type for result in op.results]))

    def _function_taken(self, child: int) -> int:
        sub = self.frame.builder.children[child].sub
        return self._taken(child, sub if self.keeps_rows else on_one_row(sub))

    @property
    def keeps_rows(self) -> bool:
        """Whether the function becomes one on batches of rows with what it is part of, not by the framework.

        What draws in a function of rows does, because its draws are those of the row.
        """
        return self.name in {"loop", "choose"} or (self.is_random and self.frame.kind == "row")

    def _call(self, op: Op) -> None:
        """Call a model as a function of its weights; in a function that is mapped over rows, on this row alone."""
        sub, is_row = self.child(op).sub, op.attrs["rows"]
        moving = self.threads and updates(sub)
        child = self._taken(op.attrs["child"], explicit_model(self.session, sub, moving=moving))
        given = [self._operand(operand) for operand in op.operands]
        data = len(given) - op.attrs.get("weights", 0)
        operands, weights = given[:data], [*given[data:], *(self._weight(origin) for origin in self._origins(op))]
        assert len(weights) == len(given) - data + sum(1 for _ in flat_slots(sub))
        if is_row and not self.keeps_rows:
            self._bind(op, call_on_row(self.build, op, child, operands, weights))
            return
        attributes = op.attrs | {"child": child} | ({"weights": len(weights)} if is_row else {})
        origins = [self._origins(op)[slot] for slot in moved(sub)] if moving else []
        types = [result.type for result in op.results] + [self.moving[origin].type for origin in origins]
        results = self.build.append("call", [*operands, *weights], attributes, types)
        self._bind(op, results[: len(op.results)])
        self.current |= dict(zip(origins, results[len(op.results) :], strict=True))

    def _weight(self, origin: AnyOrigin) -> Operand:
        if origin in self.current:
            return self.current[origin]
        if origin in self.weights:
            return self.inputs[self.weights[origin].id]
        found = read(self.frame, origin, self.location)
        assert isinstance(found.operand, Value)
        return self._operand(found.operand)

    def _taken(self, child: int, sub: Sub) -> int:
        if child not in self.children:
            self.children[child] = len(self.build.children)
            self.build.children.append(Child(self.frame.builder.children[child].name, sub))
        return self.children[child]

    def _operand(self, operand: Operand) -> Operand:
        if isinstance(operand, Constant):
            return operand
        if operand.id in self.reads:
            return self.current[self.reads[operand.id]]
        if operand.id not in self.inputs:
            self.inputs[operand.id] = self._input(operand)
            self.captured.append(operand)
        return self.inputs[operand.id]

    def _input(self, value: Value) -> Value:
        return self.build.input(self.called(value), value.type)

    def called(self, value: Value) -> str:
        """A name for people: the recipe's, or that of the weight."""
        names = self.frame.builder.names
        if value.id in names:
            return names[value.id]
        for (child, place), each in self.frame.reads.items():
            if each == value:
                path, _ = list(flat_slots(self.frame.builder.children[child].sub))[place]
                return path.replace(".", "_")
        return "x"

    def _bind(self, op: Op, results: Sequence[Operand]) -> None:
        for old, new in zip(op.results, results, strict=True):
            self.inputs[old.id] = new
            if old.id in self.frame.builder.names and isinstance(new, Value):
                self.build.names[new.id] = self.frame.builder.names[old.id]

    def _mentions_batch(self) -> bool:
        return any(_mentions(item) for op in self.build.ops for _, item in op.attributes)


def _mentions(item: Any) -> bool:
    return isinstance(item, Size) or (isinstance(item, tuple) and any(_mentions(each) for each in item))


def _has_batch(value: Value) -> bool:
    return any(isinstance(dim, Size) for dim in value.type.shape)


def _empty(sub: Sub) -> Origins:
    return Origins((), tuple(_empty(child.sub) for child in sub.children))
