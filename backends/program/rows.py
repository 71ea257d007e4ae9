"""Vectorise a row program: each operation's row rule turns it into one on a batch of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from etude.backends.ops import find
from etude.backends.program.builder import Builder
from etude.backends.program.dims import Dim, b, product
from etude.backends.program.inner import all_selected, call_on_row, reshaped
from etude.backends.program.ir import CALLING, Child, Literal, Op, Operand, Sub, Value, callees
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

    def run(self, batched: Sequence[bool] | None = None) -> Sub:
        """The batch program; `batched` says which inputs depend on the row, by default all."""
        program = self.program
        called = {op.attrs["child"] for op in program.ops if op.name == "call"}
        self.build.children = [
            Child(child.name, row_keyed(child.sub) if place in called else child.sub)
            for place, child in enumerate(program.children)
        ]
        for (name, value), depends in zip(program.inputs, batched or [True] * len(program.inputs), strict=True):
            kind = _batch(value.type) if depends else value.type
            self._bind(value, self.build.input(name, kind), is_batched=depends)
        if program.is_random:
            self.rows = self.build.input(ROWS_INPUT, ROW_IDS)
        for op in program.ops:
            self._lift(op)
        return self.build.build([(name, self._spread(value)) for name, value in program.outputs])

    def _lift(self, op: Op) -> None:
        if op.name == "call":
            results, depends = self._call(op), True
        elif op.name == "apply":
            results, depends = self._applied(op), True
        elif op.name in {"each", "scan"} and self._draws(op):
            results, depends = self._elements(op), True
        elif op.name == "grad" and self._draws(op):
            results, depends = self._slopes(op), True
        elif op.name in {"grad", "each", "scan"} and any(self._is_batched(o) for o in op.operands):
            results, depends = self._mapped(op), True
        elif op.name in {"loop", "choose"} and (any(self._is_batched(o) for o in op.operands) or self._draws(op)):
            results, depends = self._inner(op), True
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
        data = len(op.operands) - op.attrs.get("weights", 0)
        operands = [self._spread(o) for o in op.operands[:data]]
        attrs = {"child": op.attrs["child"], "site": op.attrs["site"], "rows": False}
        child = self.build.children[op.attrs["child"]].sub
        if op.attrs["rows"]:
            types = [_batch(r.type) for r in op.results]
            if any(self._is_batched(o) for o in op.operands[data:]):
                return self._call_each(op, data)
            weights = [self._operand(o) for o in op.operands[data:]]
            return self.build.append("call", [*operands, *weights, *self._row_ids(child)], attrs, types)
        merged = [self._reshape(o, (product(o.type.shape[:2]), *o.type.shape[2:])) for o in operands]
        assert not child.is_random, "a random model called on a batch within a row has no row identities"
        inner = op.operands[0].type.shape[0]
        types = [value.type.at_batch(b * inner) for _, value in child.outputs]
        called = self.build.append("call", merged, attrs, types)
        pairs = zip(called, op.results, strict=True)
        return [self._reshape(value, _batch(result.type).shape) for value, result in pairs]

    def _call_each(self, op: Op, data: int) -> Sequence[Operand]:
        """A model called on rows that have weights of their own: the framework maps over the rows, each a batch."""
        place = op.attrs["child"]
        child = self.build.children[place]
        build = Builder(child.sub.name, children=[child], is_random=child.sub.is_random, doc=child.sub.doc)
        given = [
            build.input(name, operand.type) for (name, _), operand in zip(child.sub.inputs, op.operands, strict=False)
        ]
        keyed = [reshaped(build, build.input("row", ROW_IDS.with_shape(())), (1,))] if build.is_random else []
        made = call_on_row(build, op, 0, [*given[:data]], [*given[data:], *keyed])
        self.build.children[place] = Child(child.name, build.build([(str(i), value) for i, value in enumerate(made)]))
        flags = (*(self._is_batched(o) for o in op.operands), *[True] * len(keyed))
        operands = [*(self._operand(o) for o in op.operands), *self._row_ids(child.sub)]
        attributes = {"child": place, "mapped": (flags,), "keyed": "same"}
        return self.build.append("each", operands, attributes, [_batch(r.type) for r in op.results])

    def _mapped(self, op: Op) -> Sequence[Operand]:
        """A function of the program for each row: the framework maps over the operands that depend on it."""
        for place in callees(op):
            child = self.build.children[place]
            self.build.children[place] = Child(child.name, all_selected(child.sub))
        flags = tuple(self._is_batched(o) for o in op.operands)
        attrs = op.attrs | {"mapped": flags if op.name == "grad" else (flags, *op.attrs["mapped"])}
        return self.build.append(
            op.name, [self._operand(o) for o in op.operands], attrs, [_batch(r.type) for r in op.results]
        )

    def _elements(self, op: Op) -> Sequence[Operand]:
        """A function of elements that draws: to each element it does on a batch of rows what it did on one row."""
        place, states = op.attrs["child"], op.attrs.get("states", 0)
        flags = [self._is_batched(o) for o in op.operands]
        if op.name == "each":
            attrs, is_element = op.attrs | {"mapped": ((*op.attrs["mapped"][0], False),)}, op.attrs["mapped"][0]
        else:
            attrs, is_element = op.attrs, [states <= i < states + op.attrs["elements"] for i in range(len(flags))]
        operands = [
            self._spread(o) if i < states else self._swapped(self._operand(o)) if flags[i] and is_element[i]
            else self._operand(o) for i, o in enumerate(op.operands)
        ]  # fmt: skip
        self._vectorize(place, [*[True] * states, *flags[states:]])
        types = [_batch(r.type) if i < states else _swapped(_batch(r.type)) for i, r in enumerate(op.results)]
        made = self.build.append(op.name, [*operands, *self._row_ids(self.build.children[place].sub)], attrs, types)
        return [value if i < states else self._swapped(value) for i, value in enumerate(made)]

    def _applied(self, op: Op) -> Sequence[Operand]:
        """A function that draws with a key that it is given, the last operand."""
        place, (*given, key) = op.attrs["child"], op.operands
        self._vectorize(place, [self._is_batched(o) for o in given])
        operands = [*(self._operand(o) for o in given), *self._row_ids(self.build.children[place].sub)]
        types = [_batch(r.type) for r in op.results]
        return self.build.append("apply", [*operands, self._operand(key)], op.attrs, types)

    def _slopes(self, op: Op) -> Sequence[Operand]:
        """Derivatives of a function that draws: of each row as a batch of one, so that it sees the row's own draws."""
        place, flags = op.attrs["child"], [self._is_batched(o) for o in op.operands]
        sub = self.program.children[place].sub
        self._vectorize(place, flags)
        build = Builder(sub.name, children=[self.build.children[place]], is_random=True, doc=sub.doc)
        given = [build.input(name, value.type) for name, value in sub.inputs]
        row = build.input("row", ROW_IDS.with_shape(()))
        batches = [
            reshaped(build, value, (1, *value.type.shape)) if flag else value
            for value, flag in zip(given, flags, strict=True)
        ]
        rows = reshaped(build, row, (1,))
        (found,) = build.append(
            "apply", [*batches, rows], {"child": 0, "given": False}, [sub.outputs[0][1].type.with_shape((1,))]
        )
        alone = all_selected(build.build([("", reshaped(build, found, ()))]))
        self.build.children[place] = Child(self.build.children[place].name, alone)
        operands = [*(self._operand(o) for o in op.operands), *self._row_ids(alone)]
        return self.build.append(
            op.name, operands, op.attrs | {"mapped": (*flags, True)}, [_batch(r.type) for r in op.results]
        )

    def _vectorize(self, place: int, batched: Sequence[bool]) -> None:
        """Make a function that draws one on a batch of rows, whose identities it gets as last input."""
        child = self.program.children[place]
        build = Builder(child.sub.name, doc=child.sub.doc, is_random=child.sub.is_random)
        self.build.children[place] = Child(child.name, _Vectorizer(child.sub, build).run(batched))

    def _swapped(self, value: Operand) -> Operand:
        """The first two axes, rows and elements, the other way around."""
        axes = (1, 0, *range(2, value.type.rank))
        return self.build.apply("transpose", [value], {"axes": axes})[0]

    def _draws(self, op: Op) -> bool:
        return any(self.program.children[place].sub.is_random for place in callees(op))

    def _inner(self, op: Op) -> Sequence[Operand]:
        """A loop or a choice: its functions do on a batch of rows what they did on one."""
        states = op.attrs["states"] if op.name == "loop" else 0
        first = 0 if op.name == "loop" else 1
        flags = [self._is_batched(o) for o in op.operands]
        operands = [self._spread(o) if i < states else self._operand(o) for i, o in enumerate(op.operands)]
        given = [False, *[True] * states, *flags[states:]] if states else flags[first:]
        sized = any(given) or self._draws(op)
        for place in callees(op):
            child = self.program.children[place]
            source = child.sub if sized else _with_input(child.sub, "place", op.operands[0].type)
            build = Builder(child.sub.name, doc=child.sub.doc, is_random=child.sub.is_random)
            inner = _Vectorizer(source, build).run([*given, *[True] * (not sized)])
            if self._draws(op) and not child.sub.is_random:
                inner = _with_input(inner, ROWS_INPUT, ROW_IDS)
            self.build.children[place] = Child(child.name, inner)
        if self._draws(op):
            assert self.rows is not None
            operands.append(self.rows)
        operands += [] if sized else operands[:1]  # what the size of the batch is read off
        attrs = op.attrs | ({"select": True} if op.name == "choose" and flags[0] else {})
        return self.build.append(op.name, operands, attrs, [_batch(r.type) for r in op.results])

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


def _swapped(kind: TensorType) -> TensorType:
    first, second, *rest = kind.shape
    return kind.with_shape((second, first, *rest))


def row_keyed(sub: Sub) -> Sub:
    """A model that draws random numbers, as one that gets the row identities as last input and draws by row.

    Draws whose leading axis is the batch see the row, and so do those for each element of it; others see their position
    as they do in training.
    """
    if not sub.is_random:
        return sub
    build = Builder(sub.name, inputs=list(sub.inputs), slots=list(sub.slots), is_random=True, doc=sub.doc)
    alone = {op.attrs["child"] for op in sub.ops if _is_over_rows(op)}
    build.children = [
        child if place in alone else Child(child.name, row_keyed(child.sub)) for place, child in enumerate(sub.children)
    ]
    build.children = [
        Child(child.name, _with_input(child.sub, ROWS_INPUT, ROW_IDS) if place in _beside_draws(sub) else child.sub)
        for place, child in enumerate(build.children)
    ]
    build.names = dict(sub.names)
    rows = _new_value(sub, ROW_IDS)
    build.inputs.append((ROWS_INPUT, rows))
    build.names[rows.id] = ROWS_INPUT
    build.ops = [_keyed(op, sub.children, rows) for op in sub.ops]
    return build.build(sub.outputs)


def _beside_draws(sub: Sub) -> set[int]:
    """The branches of choices that draw nothing while others of the same choice do."""
    found = set()
    for op in sub.ops:
        draws = {place for place in callees(op) if sub.children[place].sub.is_random}
        found |= set(callees(op)) - draws if draws else set()
    return found


def _new_value(sub: Sub, kind: TensorType) -> Value:
    """A value that the sub-program has not used."""
    used = [value.id for _, value in sub.inputs] + [value.id for op in sub.ops for value in op.results]
    return Value(max(used, default=-1) + 1, kind)


def _with_input(sub: Sub, name: str, kind: TensorType) -> Sub:
    """A function with one more input, which it does not read."""
    return replace(sub, inputs=(*sub.inputs, (name, _new_value(sub, kind))))


def _keyed(op: Op, children: Sequence[Child], rows: Value) -> Op:
    if op.name in CALLING:
        if not any(children[place].sub.is_random for place in callees(op)) or (op.name == "scan" and _is_over_rows(op)):
            return op
        attributes = op.attrs
        if op.name == "apply":
            return replace(op, operands=(*op.operands[:-1], rows, op.operands[-1]))
        if op.name == "each" and _is_over_rows(op):
            attributes["keyed"] = "rows"
        elif op.name == "each":
            attributes["mapped"] = tuple((*flags, False) for flags in attributes["mapped"])
        return replace(op, operands=(*op.operands, rows), attributes=tuple(attributes.items()))
    operation = find(op.name)
    if operation is None or not operation.is_random or not _draws_by_row(op):
        return op
    attributes = op.attrs | {"rows": True}
    if "shape" in attributes:
        attributes["shape"] = attributes["shape"][1:]
    return replace(op, operands=(*op.operands, rows), attributes=tuple(attributes.items()))


def _is_over_rows(op: Op) -> bool:
    """Whether the elements of a function of elements are the rows of the batch."""
    if op.name not in {"each", "scan"}:
        return False
    first = op.attrs["mapped"][0].index(True) if op.name == "each" else op.attrs["states"]
    return bool(op.operands[first].type.shape[0] == b)


def _draws_by_row(op: Op) -> bool:
    """Whether the draw has one part for each row of the batch."""
    if "shape" in op.attrs:
        return tuple(op.attrs["shape"][:1]) == (b,)
    return op.name != "permutation" and op.operands[0].type.shape[:1] == (b,)
