"""Functions inside of programs, rewritten for where they run: on one row, or where each element has its own choice."""

from __future__ import annotations

from msgspec.structs import replace

from etude.backends.program.builder import Builder
from etude.backends.program.ir import Child, Literal, Op, Operand, Sub, Value, callees


def all_selected(sub: Sub) -> Sub:
    """`sub` with every choice in it, and in what it calls, as one that computes all of its branches.

    Where a framework maps a function over rows or elements, a number that picks may be another one for each.
    """
    children = tuple(Child(child.name, all_selected(child.sub)) for child in sub.children)
    ops = tuple(_selected(op) if op.name == "choose" else op for op in sub.ops)
    return replace(sub, children=children, ops=ops)


def _selected(op: Op) -> Op:
    return replace(op, attributes=tuple((key, True if key == "select" else value) for key, value in op.attributes))


def on_one_row(sub: Sub) -> Sub:
    """The function of a row in which models that see the batch are called on a batch of this row alone."""
    if not _calls_rows(sub):
        return sub
    return _OneRow(sub).run()


def _calls_rows(sub: Sub) -> bool:
    inner = (child.sub for op in sub.ops if op.name in {"loop", "choose"} for child in _children(sub, op))
    return any(op.name == "call" and op.attrs["rows"] for op in sub.ops) or any(map(_calls_rows, inner))


def _children(sub: Sub, op: Op) -> list[Child]:
    return [sub.children[place] for place in callees(op)]


def call_on_row(build: Builder, op: Op, child: int, operands: list[Operand], weights: list[Operand]) -> list[Operand]:
    """Append the call of a model, as a function of its weights, on a batch of one row; the results are rows again."""
    batches: list[Operand] = [reshaped(build, operand, (1, *operand.type.shape)) for operand in operands]
    attributes = {"child": child, "site": op.attrs["site"], "rows": False}
    types = [result.type.with_shape((1, *result.type.shape)) for result in op.results]
    made = build.append("call", [*batches, *weights], attributes, types)
    return [reshaped(build, value, old.type.shape) for value, old in zip(made, op.results, strict=True)]


def reshaped(build: Builder, value: Operand, shape: tuple[object, ...]) -> Operand:
    return build.apply("reshape", [value], {"shape": shape})[0]


class _OneRow:
    """Copies a function of a row, operation by operation."""

    def __init__(self, sub: Sub) -> None:
        self.sub = sub
        self.build = Builder(sub.name, is_random=sub.is_random, doc=sub.doc)
        self.new: dict[int, Operand] = {}

    def run(self) -> Sub:
        inner = {place for op in self.sub.ops if op.name in {"loop", "choose"} for place in callees(op)}
        self.build.children = [
            Child(child.name, on_one_row(child.sub) if place in inner else child.sub)
            for place, child in enumerate(self.sub.children)
        ]
        for name, value in self.sub.inputs:
            self.new[value.id] = self.build.input(name, value.type)
        for op in self.sub.ops:
            for old, new in zip(op.results, self._copied(op), strict=True):
                self.new[old.id] = new
                if old.id in self.sub.names and isinstance(new, Value):
                    self.build.names[new.id] = self.sub.names[old.id]
        return self.build.build([(name, self._operand(value)) for name, value in self.sub.outputs])

    def _copied(self, op: Op) -> list[Operand]:
        operands = [self._operand(operand) for operand in op.operands]
        if op.name == "call" and op.attrs["rows"]:
            data = len(operands) - op.attrs["weights"]
            return call_on_row(self.build, op, op.attrs["child"], operands[:data], operands[data:])
        return list(self.build.append(op.name, operands, op.attrs, [result.type for result in op.results]))

    def _operand(self, operand: Operand) -> Operand:
        return operand if isinstance(operand, Literal) else self.new[operand.id]
