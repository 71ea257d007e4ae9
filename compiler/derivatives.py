"""`grad`: the part of the program that leads from some values to a number, as a function that is differentiated.

The function is a child without weights. What it reads beside the values in question are further inputs, and the models
that it calls become functions of their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etude.backends.program.builder import Builder
from etude.backends.program.dims import Size
from etude.backends.program.explicit import explicit, flat_slots
from etude.backends.program.ir import Child, Literal, Op, Operand, Sub, Value
from etude.compiler import faults
from etude.compiler.diagnostics import Location
from etude.compiler.models import add_child
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, Origins, tensor
from etude.compiler.trees import read
from etude.compiler.values import AnyOrigin, Tensor


def derivatives(
    session: Session, value: Tensor, by: Sequence[Tensor], location: Location, *, what: str
) -> list[Tensor]:
    """The total derivatives of a number by tensors of the same function. `what` is how the recipe calls the latter."""
    frame = session.frame
    assert frame is not None and isinstance(value.operand, Value)
    cut = Cut(session, frame, [_value(tensor) for tensor in by], location)
    cut.follow([value.operand])
    if value.operand.id not in cut.depends:
        raise faults.independent(what, location, value.location)
    if frame.kind == "row" and cut.is_random:
        raise faults.not_available(
            "a draw that depends on what the derivative is taken by, in a function of rows", location
        )
    place = add_child(frame, _name(frame, value), cut.function([("", value.operand)]), cut.origins())
    attributes = {"child": place, "count": len(by), "mapped": ()}
    frame.builder.is_random |= cut.is_random
    results = frame.builder.append("grad", [*cut.by, *cut.captured], attributes, [v.type for v in cut.by])
    if len(results) > 1:
        for result, source in zip(results, cut.by, strict=True):
            frame.builder.names.setdefault(result.id, f"{cut.called(source)}_slope")
    return [tensor(frame, result, location) for result in results]


def _value(tensor: Tensor) -> Value:
    assert isinstance(tensor.operand, Value)
    return tensor.operand


def _name(frame: Frame, value: Tensor) -> str:
    assert isinstance(value.operand, Value)
    wanted = frame.builder.names.get(value.operand.id, "value")
    taken = {child.name for child in frame.builder.children}
    return next(n for n in (wanted, *(f"{wanted}_{i}" for i in range(2, len(taken) + 3))) if n not in taken)


def explicit_model(session: Session, sub: Sub) -> Sub:
    """A model's sub-program as a function of its weights; one object for each."""
    known: dict[int, Any] = session.memo.setdefault("explicit", {})
    if id(sub) not in known:
        known[id(sub)] = (sub, explicit(sub))  # the sub-program is kept, so that nothing else gets its id
    found: Sub = known[id(sub)][1]
    return found


# Operations that give a function of the program, which has no weights, to the framework.
CALLING = frozenset({"call", "grad", "each", "scan"})


class Cut:
    """The operations between the values `by` and a number, while they are copied into a function."""

    def __init__(
        self, session: Session, frame: Frame, by: Sequence[Value], location: Location, name: str = "value"
    ) -> None:
        self.session, self.frame, self.by, self.location = session, frame, by, location
        self.build = Builder(name)
        self.inputs: dict[int, Operand] = {value.id: self._input(value) for value in by}
        self.captured: list[Value] = []
        self.children: dict[int, int] = {}
        self.weights = self._weights()
        self.depends = {value.id for value in by}
        self.ops: list[Op] = []
        self.is_random = False

    def _weights(self) -> dict[AnyOrigin, Value]:
        """The weights among `by`, by origin: calls of models depend on them without naming them."""
        found = {}
        for (child, place), value in self.frame.reads.items():
            if any(value == each for each in self.by):
                found[self.frame.child_origins[child].flat[place]] = value
        return found

    def follow(self, values: Sequence[Operand]) -> None:
        """Find the operations that depend on `by` and that some values depend on."""
        ops = list(self.frame.builder.ops)
        for op in ops:
            if self._depends(op):
                self.depends |= {result.id for result in op.results}
        needed = {value.id for value in values if isinstance(value, Value)}
        for op in reversed(ops):
            if any(result.id in needed for result in op.results) and self._depends(op):
                self.ops.append(op)
                needed |= {operand.id for operand in op.operands if isinstance(operand, Value)}
        self.ops = [op for op in reversed(self.ops) if not any(result.id in self.inputs for result in op.results)]
        self.is_random = any(self.draws(op) for op in self.ops)

    def _depends(self, op: Op) -> bool:
        if any(isinstance(operand, Value) and operand.id in self.depends for operand in op.operands):
            return True
        if op.name == "read":
            return self._origins(op)[op.attrs["slot"]] in self.weights
        return op.name == "call" and any(origin in self.weights for origin in self._origins(op))

    def _origins(self, op: Op) -> tuple[AnyOrigin, ...]:
        return self.frame.child_origins[int(op.attrs["child"])].flat

    def draws(self, op: Op) -> bool:
        """Whether an operation needs random numbers."""
        from etude.backends.ops import find

        if op.name in CALLING:
            return self.child(op).sub.is_random
        row = find(op.name)
        return row is not None and row.is_random

    def child(self, op: Op) -> Child:
        """The child that an operation calls."""
        return self.frame.builder.children[int(op.attrs["child"])]

    # --- the function ---

    def function(self, outputs: Sequence[tuple[str, Operand]]) -> Sub:
        """The copied operations as a sub-program; `captured` are the values that it is given after `by`."""
        for op in self.ops:
            self._copy(op)
        found = [(name, self._operand(value)) for name, value in outputs]
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
        attributes = op.attrs
        if op.name in CALLING:
            attributes["child"] = self._taken(op.attrs["child"], self.child(op).sub)
        operands = [self._operand(operand) for operand in op.operands]
        self._bind(op, self.build.append(op.name, operands, attributes, [result.type for result in op.results]))

    def _call(self, op: Op) -> None:
        """Call a model as a function of its weights; in a function of rows, on a batch of this row alone."""
        sub, is_row = self.child(op).sub, op.attrs["rows"]
        child = self._taken(op.attrs["child"], explicit_model(self.session, sub))
        operands = [self._operand(operand) for operand in op.operands]
        if is_row:
            operands = [self._reshaped(operand, (1, *operand.type.shape)) for operand in operands]
        operands += [self._weight(origin) for origin in self._origins(op)]
        assert len(operands) == len(op.operands) + sum(1 for _ in flat_slots(sub))
        attributes = op.attrs | {"child": child, "rows": False}
        types = [result.type.with_shape((1, *result.type.shape)) if is_row else result.type for result in op.results]
        made: Sequence[Operand] = self.build.append("call", operands, attributes, types)
        if is_row:
            made = [self._reshaped(v, old.type.shape) for v, old in zip(made, op.results, strict=True)]
        self._bind(op, made)

    def _weight(self, origin: AnyOrigin) -> Operand:
        if origin in self.weights:
            return self.inputs[self.weights[origin].id]
        found = read(self.frame, origin, self.location)
        assert isinstance(found.operand, Value)
        return self._operand(found.operand)

    def _reshaped(self, value: Operand, shape: tuple[Any, ...]) -> Operand:
        return self.build.apply("reshape", [value], {"shape": shape})[0]

    def _taken(self, child: int, sub: Sub) -> int:
        if child not in self.children:
            self.children[child] = len(self.build.children)
            self.build.children.append(Child(self.frame.builder.children[child].name, sub))
        return self.children[child]

    def _operand(self, operand: Operand) -> Operand:
        if isinstance(operand, Literal):
            return operand
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
