"""Vectorise a row program: each operation's row rule turns it into one on a batch of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from etude.backends.ops import find
from etude.backends.program.builder import Builder
from etude.backends.program.dims import Dim, b, product
from etude.backends.program.ir import Child, Literal, Op, Operand, Sub, Value
from etude.backends.program.types import TensorType

ROWS_INPUT = "rows"
ROW_IDS = TensorType("uint32", (b,))


def vectorize(program: Sub) -> Sub:
    """The batch program that does to each row what `program` does to one.

    What does not depend on the row is computed once; every output gets the leading `b`. A random program gets one more
    input, "rows" (uint32 `[b]`): the identities of the rows, so that a row sees the same numbers in every batch. Raises
    `OperandError` where an operation has no batched form.
    """
    build = Builder(program.name, slots=list(program.slots), doc=program.doc, is_random=program.is_random)
    return _Vectorizer(program, build).run()


class _Vectorizer(Struct):
    program: Sub
    build: Builder
    new: dict[int, Operand] = field(default_factory=dict)
    batched: set[int] = field(default_factory=set)
    rows: Value | None = None

    def run(self) -> Sub:
        program = self.program
        self.build.children = [Child(c.name, row_keyed(c.sub)) for c in program.children]
        for name, value in program.inputs:
            self._bind(value, self.build.input(name, _batch(value.type)), is_batched=True)
        if program.is_random:
            self.rows = self.build.input(ROWS_INPUT, ROW_IDS)
        for op in program.ops:
            self._lift(op)
        return self.build.build([(name, self._spread(value)) for name, value in program.outputs])

    def _lift(self, op: Op) -> None:
        if op.name == "call":
            results, depends = self._call(op), True
        elif op.name in {"grad", "each", "scan"} and any(self._is_batched(o) for o in op.operands):
            results, depends = self._mapped(op), True
        else:
            operation = find(op.name)
            depends = any(self._is_batched(o) for o in op.operands) or (operation is not None and operation.is_random)
            if depends:
                assert operation is not None
                results = operation.rows(_Lifting.of(self, op))
            else:
                operands = [self._operand(o) for o in op.operands]
                results = self.build.append(op.name, operands, op.attrs, [r.type for r in op.results])
        for old, value in zip(op.results, results, strict=True):
            assert not depends or value.type == _batch(old.type), f"{op.name}: {old.type} became {value.type}"
            self._bind(old, value, is_batched=depends)

    def _call(self, op: Op) -> Sequence[Operand]:
        """A model called on rows gets the batch; one called on a batch within the row gets all of them end to end."""
        operands = [self._spread(o) for o in op.operands]
        attrs = op.attrs | {"rows": False}
        child = self.build.children[op.attrs["child"]].sub
        if op.attrs["rows"]:
            types = [_batch(r.type) for r in op.results]
            return self.build.append("call", [*operands, *self._row_ids(child)], attrs, types)
        merged = [self._reshape(o, (product(o.type.shape[:2]), *o.type.shape[2:])) for o in operands]
        assert not child.is_random, "a random model called on a batch within a row has no row identities"
        inner = op.operands[0].type.shape[0]
        types = [value.type.at_batch(b * inner) for _, value in child.outputs]
        called = self.build.append("call", merged, attrs, types)
        pairs = zip(called, op.results, strict=True)
        return [self._reshape(value, _batch(result.type).shape) for value, result in pairs]

    def _mapped(self, op: Op) -> Sequence[Operand]:
        """A function of the program for each row: the framework maps over the operands that depend on it."""
        flags = tuple(self._is_batched(o) for o in op.operands)
        attrs = op.attrs | {"mapped": flags if op.name == "grad" else (flags, *op.attrs["mapped"])}
        return self.build.append(
            op.name, [self._operand(o) for o in op.operands], attrs, [_batch(r.type) for r in op.results]
        )

    def _row_ids(self, child: Sub) -> list[Operand]:
        if not child.is_random:
            return []
        assert self.rows is not None
        return [self.rows]

    def _reshape(self, value: Operand, shape: tuple[Dim, ...]) -> Operand:
        return self.build.apply("reshape", [value], {"shape": shape})[0]

    def _bind(self, old: Value, value: Operand, *, is_batched: bool) -> None:
        self.new[old.id] = value
        if is_batched:
            self.batched.add(old.id)
        if old.id in self.program.names and isinstance(value, Value):
            self.build.names[value.id] = self.program.names[old.id]

    def _operand(self, operand: Operand) -> Operand:
        return operand if isinstance(operand, Literal) else self.new[operand.id]

    def _is_batched(self, operand: Operand) -> bool:
        return isinstance(operand, Value) and operand.id in self.batched

    def _spread(self, operand: Operand) -> Operand:
        value = self._operand(operand)
        if self._is_batched(operand):
            return value
        return self.build.apply("broadcast", [value], {"shape": (b, *operand.type.shape)})[0]


class _Lifting(Struct):
    """What a row rule sees of one operation; see `backends.ops.rowwise.Lifting`."""

    owner: _Vectorizer
    op: Op
    name: str
    attrs: dict[str, Any]
    types: Sequence[TensorType]
    results: Sequence[TensorType]
    operands: Sequence[Operand]
    batched: Sequence[bool]

    @classmethod
    def of(cls, owner: _Vectorizer, op: Op) -> _Lifting:
        return cls(
            owner=owner,
            op=op,
            name=op.name,
            attrs=op.attrs,
            types=[o.type for o in op.operands],
            results=[r.type for r in op.results],
            operands=[owner._operand(o) for o in op.operands],
            batched=[owner._is_batched(o) for o in op.operands],
        )

    def apply(self, name: str, operands: Sequence[Operand], **attributes: Any) -> tuple[Operand, ...]:
        return self.owner.build.apply(name, operands, attributes)

    def draw(self, operands: Sequence[Operand]) -> tuple[Operand, ...]:
        assert self.owner.rows is not None, f"{self.name} is random, but its program does not say so"
        attributes = self.attrs | {"rows": True}
        types = [_batch(kind) for kind in self.results]
        return self.owner.build.append(self.name, [*operands, self.owner.rows], attributes, types)

    def ranked(self, index: int, rank: int) -> Operand:
        operand, kind = self.operands[index], self.types[index]
        if not self.batched[index] or kind.rank >= rank:
            return operand
        return self.owner._reshape(operand, (b, *(1,) * (rank - kind.rank), *kind.shape))

    def spread(self, index: int) -> Operand:
        return self.owner._spread(self.op.operands[index])


def _batch(kind: TensorType) -> TensorType:
    return TensorType(kind.dtype, (b, *kind.shape))


def row_keyed(sub: Sub) -> Sub:
    """A model that draws random numbers, as one that gets the row identities as last input and draws by row.

    Draws whose leading axis is the batch see the row; others see their position as they do in training.
    """
    if not sub.is_random:
        return sub
    build = Builder(sub.name, inputs=list(sub.inputs), slots=list(sub.slots), is_random=True, doc=sub.doc)
    build.children = [Child(child.name, row_keyed(child.sub)) for child in sub.children]
    build.names = dict(sub.names)
    used = [value.id for _, value in sub.inputs] + [value.id for op in sub.ops for value in op.results]
    rows = Value(max(used, default=-1) + 1, ROW_IDS)
    build.inputs.append((ROWS_INPUT, rows))
    build.names[rows.id] = ROWS_INPUT
    build.ops = [_keyed(op, sub.children, rows) for op in sub.ops]
    return build.build(sub.outputs)


def _keyed(op: Op, children: Sequence[Child], rows: Value) -> Op:
    if op.name == "call":
        is_random = children[op.attrs["child"]].sub.is_random
        return replace(op, operands=(*op.operands, rows)) if is_random else op
    operation = find(op.name)
    if operation is None or not operation.is_random or not _draws_by_row(op):
        return op
    attributes = op.attrs | {"rows": True}
    if "shape" in attributes:
        attributes["shape"] = attributes["shape"][1:]
    return replace(op, operands=(*op.operands, rows), attributes=tuple(attributes.items()))


def _draws_by_row(op: Op) -> bool:
    """Whether the draw has one part for each row of the batch."""
    if "shape" in op.attrs:
        return tuple(op.attrs["shape"][:1]) == (b,)
    return op.name != "permutation" and op.operands[0].type.shape[:1] == (b,)
