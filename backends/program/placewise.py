"""Programs that do at one place of an axis what another does at all of them, with what came before kept in caches.

A program is *causal* along an axis if what it gives at a place depends on no later place of its inputs. Then what it
gives at place p can be computed from its inputs at p, and from the keys and values that attention has had at the places
before. Nothing is assumed about models: each operation has a rule here, and where there is none the answer is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from etude.backends.ops import find
from etude.backends.ops.rearranging import parse_pattern
from etude.backends.ops.rowwise import along_axis, along_one_axis, elementwise
from etude.backends.ops.shapes import normal_axes, normal_axis
from etude.backends.program.builder import Builder
from etude.backends.program.dims import Dim, b, product
from etude.backends.program.ir import CALLING, Child, Literal, Op, Operand, Sub, Value, callees, recalled
from etude.backends.program.types import TensorType

Given = tuple[Sequence[Operand], dict[str, Any], int]
"""What an operation becomes: its operands, its attributes, and the axis of its results that has the one place."""
DONE: dict[str, Any] = {}
"""Stands for the attributes where the operands are the results."""
IMPOSSIBLE = -1e30
"""Where attention may not look: its exponential is 0 beside any other."""


class Placewise(Struct, frozen=True):
    """`sub` takes its inputs at a place, the place itself if it reads that, and caches. It gives the outputs that
    `axes` names, those with an axis of places at the place, and then the caches as they are after it."""

    sub: Sub
    axes: dict[int, int | None]
    caches: tuple[TensorType, ...]
    takes_place: bool


class Placing(Struct):
    """One sub-program while it becomes one of a place. `whole` has the new operands of what is known at all places,
    `new` those of what is known at the place, and `axis` along which axis that is."""

    length: int
    build: Builder
    place: Value
    made: dict[Any, Placewise | None]
    whole: dict[int, Operand] = field(default_factory=dict)
    new: dict[int, Operand] = field(default_factory=dict)
    axis: dict[int, int] = field(default_factory=dict)
    caches: list[tuple[Value, Operand]] = field(default_factory=list)
    _parts: dict[tuple[int, int], Operand] = field(default_factory=dict)
    _here: Operand | None = None

    def axis_of(self, operand: Operand) -> int | None:
        return None if isinstance(operand, Literal) else self.axis.get(operand.id)

    def is_known(self, operand: Operand) -> bool:
        return isinstance(operand, Literal) or operand.id in self.whole or operand.id in self.new

    def at_all(self, operand: Operand) -> Operand:
        return operand if isinstance(operand, Literal) else self.whole[operand.id]

    def at_place(self, operand: Operand) -> Operand:
        return operand if isinstance(operand, Literal) else self.new.get(operand.id) or self.whole[operand.id]

    def beside(self, operand: Operand, axis: int) -> Operand:
        """An operand at the place: one that is known at all places is cut along `axis`, if it has so many there."""
        if isinstance(operand, Literal) or operand.id in self.new:
            return self.at_place(operand)
        if axis < 0 or operand.type.shape[axis] == 1:
            return self.whole[operand.id]
        if (operand.id, axis) not in self._parts:
            attributes = {"length": 1, "axis": axis}
            (cut,) = self.build.apply("slice_at", [self.whole[operand.id], self.place], attributes)
            self._parts[operand.id, axis] = cut
        return self._parts[operand.id, axis]

    def copy(self, op: Op) -> None:
        """An operation as it is, on what is known at all places."""
        operands = [self.at_all(operand) for operand in op.operands]
        results = self.build.append(op.name, operands, op.attrs, [result.type for result in op.results])
        self.whole |= {old.id: value for old, value in zip(op.results, results, strict=True)}

    def put(self, op: Op) -> None:
        """An operation at the place, where there is a rule for it."""
        if op.name == "call":
            self._call(op)
            return
        rule = _rule(op)
        given = rule(self, op) if rule is not None else None
        if given is not None:
            operands, attributes, axis = given
            results = operands if attributes is DONE else self.build.apply(op.name, operands, attributes)
            pairs = list(zip(op.results, results, strict=True))
            if all(new.type == _at_place(old.type, axis) for old, new in pairs):
                self.new |= {old.id: new for old, new in pairs}
                self.axis |= {old.id: axis for old, _ in pairs}

    def _call(self, op: Op) -> None:
        child = self.build.children[op.attrs["child"]]
        axes = tuple(self.axis_of(operand) for operand in op.operands)
        key = (id(child.sub), axes, self.length)
        if key not in self.made:
            self.made[key] = placewise(child.sub, axes, self.length, self.made)
        made = self.made[key]
        if made is None or op.attrs["rows"] or op.attrs.get("weights"):
            return
        batch = next((o.type.shape[0] for (_, v), o in zip(child.sub.inputs, op.operands, strict=True) if _has_b(v)), b)
        kinds = [kind.at_batch(batch) for kind in made.caches]
        given = [self.build.input(f"cache_{len(self.caches) + n}", kind) for n, kind in enumerate(kinds)]
        kept = [(op.results[index], axis) for index, axis in made.axes.items()]
        types = [_at_place(old.type, axis) for old, axis in kept]
        self.build.children.append(Child(child.name, made.sub))
        operands = [*map(self.at_place, op.operands), *[self.place] * made.takes_place, *given]
        attributes = op.attrs | {"child": len(self.build.children) - 1}
        results = self.build.append("call", operands, attributes, [*types, *kinds])
        for (old, axis), value in zip(kept, results, strict=False):
            if axis is None:
                self.whole[old.id] = value
            else:
                self.new[old.id], self.axis[old.id] = value, axis
        self.caches += zip(given, results[len(kept) :], strict=True)

    def cached(self, operand: Operand, axis: int) -> Operand:
        """All that an operand, known at the place, has been at the places so far; zeros at those to come."""
        (here,) = self.build.apply("eq", [self._counted(axis - operand.type.rank), self.place])
        before = self.build.input(f"cache_{len(self.caches)}", operand.type)
        (after,) = self.build.apply("where", [here, self.at_place(operand), before])
        self.caches.append((before, after))
        return after

    def attended(self, op: Op) -> Operand:
        """What the place attends to among those so far, itself with them.

        In single products: PyTorch's own attention takes rows one by one where a function is mapped over them.
        """
        q, k, v = op.operands
        axis, apply = q.type.rank - 2, self.build.apply
        width, scale = q.type.shape[-1], op.attrs["scale"]
        if scale is None:
            assert isinstance(width, int), "only rows depend on the batch"
            scale = width**-0.5
        keys, values = self.cached(k, axis), self.cached(v, axis)
        order = (*range(axis), axis + 1, axis)
        (products,) = apply("matmul", [self.at_place(q), apply("transpose", [keys], {"axes": order})[0]])
        (scores,) = apply("mul", [products, Literal(scale)])
        (is_so_far,) = apply("le", [self._counted(-1), self.place])
        (held,) = apply("where", [is_so_far, scores, Literal(IMPOSSIBLE)])
        return apply("matmul", [apply("softmax", [held], {"axis": -1})[0], values])[0]

    def _counted(self, axis: int) -> Operand:
        """The numbers of all places, along an axis counted from the right."""
        (numbers,) = self.build.apply("iota", [], {"n": self.length})
        shape = (self.length, *[1] * (-axis - 1))
        return numbers if axis == -1 else self.build.apply("reshape", [numbers], {"shape": shape})[0]


def placewise(sub: Sub, axes: Sequence[int | None], length: int, made: dict[Any, Placewise | None]) -> Placewise | None:
    """`sub` for one place of the inputs that have an axis of places; None where no output is causal along it."""
    if sub.is_random or sub.slots:
        return None
    build = Builder(sub.name, children=list(sub.children), doc="")
    inputs = [
        build.input(name, _at_place(value.type, axis)) for (name, value), axis in zip(sub.inputs, axes, strict=True)
    ]
    placing = Placing(length, build, build.input("place", TensorType("int32")), made)
    for (_, old), value, axis in zip(sub.inputs, inputs, axes, strict=True):
        if axis is None:
            placing.whole[old.id] = value
        else:
            placing.new[old.id], placing.axis[old.id] = value, axis
    for op in sub.ops:
        if not all(map(placing.is_known, op.operands)):
            continue
        if any(placing.axis_of(operand) is not None for operand in op.operands):
            placing.put(op)
        else:
            placing.copy(op)
    kept = {index: placing.axis_of(value) for index, (_, value) in enumerate(sub.outputs) if placing.is_known(value)}
    if all(axis is None for axis in kept.values()):
        return None
    outputs = [(sub.outputs[index][0], placing.at_place(sub.outputs[index][1])) for index in kept]
    caches = [(f"cache.{index}", after) for index, (_, after) in enumerate(placing.caches)]
    found = build.build([*outputs, *caches])
    takes_place = any(placing.place in op.operands for op in found.ops)
    if not takes_place:
        found = replace(found, inputs=tuple(each for each in found.inputs if each[1] != placing.place))
    return Placewise(only_called(found), kept, tuple(before.type for before, _ in placing.caches), takes_place)


def only_called(sub: Sub) -> Sub:
    """`sub` without the children that none of its operations calls; it has no weights."""
    called = sorted({place for op in sub.ops for place in callees(op)})
    new = {old: place for place, old in enumerate(called)}
    ops = tuple(recalled(op, new.__getitem__) for op in sub.ops)
    return replace(sub, children=tuple(sub.children[old] for old in called), ops=ops)


def _at_place(kind: TensorType, axis: int | None) -> TensorType:
    return kind if axis is None else kind.with_shape((*kind.shape[:axis], 1, *kind.shape[axis + 1 :]))


def _has_b(value: Value) -> bool:
    return bool(value.type.shape) and value.type.shape[0] == b


# --- what operations become ---


def _rule(op: Op) -> Callable[[Placing, Op], Given | None] | None:
    row = find(op.name)
    if op.name in CALLING or row is None or row.is_random:
        return None
    if op.name in RULES:
        return RULES[op.name]
    if row.rows is elementwise:
        return _elementwise
    return _along if row.rows in {along_axis, along_one_axis} else None


def _attributes(op: Op) -> dict[str, Any]:
    return {name: value for name, value in op.attrs.items() if name != "site"}


def _elementwise(placing: Placing, op: Op) -> Given | None:
    rank = max(operand.type.rank for operand in op.operands)
    axes = {a + rank - o.type.rank for o in op.operands if (a := placing.axis_of(o)) is not None}
    if len(axes) != 1:
        return None
    (axis,) = axes
    operands = [placing.beside(operand, axis - rank + operand.type.rank) for operand in op.operands]
    return operands, _attributes(op), axis


def _along(placing: Placing, op: Op) -> Given | None:
    """Along other axes than that of the places."""
    first, *others = op.operands
    axis, attributes = placing.axis_of(first), _attributes(op)
    if axis is None or any(placing.axis_of(other) is not None for other in others) or "axis" not in attributes:
        return None
    gone = normal_axes(attributes["axis"], first.type)
    if axis in gone or attributes["axis"] is None:
        return None
    lost = first.type.rank - op.results[0].type.rank
    if lost not in {0, len(gone)}:
        return None
    operands = [placing.at_place(first)]
    operands += [placing.beside(other, axis - first.type.rank + other.type.rank) for other in others]
    return operands, attributes, axis - (sum(each < axis for each in gone) if lost else 0)


def _matmul(placing: Placing, op: Op) -> Given | None:
    left, right = op.operands
    axis = placing.axis_of(left)
    if axis is None or placing.axis_of(right) is not None or right.type.rank != 2 or axis == left.type.rank - 1:
        return None
    return [placing.at_place(left), placing.at_all(right)], _attributes(op), axis


def _looked_up(placing: Placing, op: Op) -> Given | None:
    table, ids = op.operands
    axis = placing.axis_of(ids)
    if axis is None or placing.axis_of(table) is not None:
        return None
    return [placing.at_all(table), placing.at_place(ids)], _attributes(op), axis


def _same_axis(placing: Placing, op: Op) -> Given | None:
    axis = placing.axis_of(op.operands[0])
    return None if axis is None else ([placing.at_place(op.operands[0])], _attributes(op), axis)


def _rearranged(placing: Placing, op: Op) -> Given | None:
    (x,) = op.operands
    axis, attributes = placing.axis_of(x), _attributes(op)
    assert axis is not None
    left, right = parse_pattern(attributes["pattern"], x.type.rank)
    name = left[axis]
    if len(name) != 1 or name not in right or name[0] in dict(attributes["sizes"] or ()):
        return None
    return [placing.at_place(x)], attributes, right.index(name)


def _reshaped(placing: Placing, op: Op) -> Given | None:
    """The axis of the places is still one of its own: as many numbers are before it."""
    (x,) = op.operands
    axis, shape = placing.axis_of(x), op.results[0].type.shape
    assert axis is not None
    before = product(x.type.shape[:axis])
    at = [i for i, dim in enumerate(shape) if dim == placing.length and product(shape[:i]) == before]
    if not at or product(shape[at[0] + 1 :]) != product(x.type.shape[axis + 1 :]):
        return None
    return [placing.at_place(x)], {"shape": _with_one(shape, at[0])}, at[0]


def _broadcast(placing: Placing, op: Op) -> Given | None:
    (x,) = op.operands
    axis, shape = placing.axis_of(x), op.results[0].type.shape
    assert axis is not None
    at = axis + len(shape) - x.type.rank
    return [placing.at_place(x)], {"shape": _with_one(shape, at)}, at


def _with_one(shape: Sequence[Dim], at: int) -> tuple[Dim, ...]:
    return (*shape[:at], 1, *shape[at + 1 :])


def _transposed(placing: Placing, op: Op) -> Given | None:
    (x,) = op.operands
    axis, attributes = placing.axis_of(x), _attributes(op)
    assert axis is not None
    order = list(reversed(range(x.type.rank))) if attributes["axes"] is None else list(attributes["axes"])
    order = [normal_axis(each, x.type) for each in order]
    return [placing.at_place(x)], attributes, order.index(axis)


def _sliced(placing: Placing, op: Op) -> Given | None:
    (x,) = op.operands
    axis, items = placing.axis_of(x), list(op.attrs["items"])
    used = sum(item[0] in {"slice", "index"} for item in items)
    rest = [("slice", None, None)] * (x.type.rank - used)
    at = next((i for i, item in enumerate(items) if item[0] == "ellipsis"), len(items))
    items[at : at + 1] = rest
    source = result = 0
    found = None
    for item in items:
        if item[0] != "newaxis":
            if source == axis and item[:3] == ("slice", None, None) and item[3:] in {(), (1,)}:
                found = result
            source += 1
        result += item[0] != "index"
    return None if found is None else ([placing.at_place(x)], _attributes(op), found)


def _joined(placing: Placing, op: Op) -> Given | None:
    """Tensors of one rank joined along another axis than that of the places, or stacked along a new one."""
    axes = {axis for operand in op.operands if (axis := placing.axis_of(operand)) is not None}
    if len(axes) != 1 or any(isinstance(operand, Literal) for operand in op.operands):
        return None
    (axis,) = axes
    along = normal_axis(op.attrs["axis"], op.results[0].type)
    if op.name == "concat" and along == axis:
        return None
    operands = [placing.beside(operand, axis) for operand in op.operands]
    return operands, _attributes(op), axis + (op.name == "stack" and along <= axis)


def _attention(placing: Placing, op: Op) -> Given | None:
    """Causal attention to the places so far; or any to what does not change, as to the text that is translated."""
    q, k, v, *mask = op.operands
    axis, attributes = placing.axis_of(q), _attributes(op)
    if axis is None or axis != q.type.rank - 2 or (mask and placing.axis_of(mask[0]) is not None):
        return None
    others = {placing.axis_of(k), placing.axis_of(v)}
    if others == {None} and not attributes["causal"]:
        wide = [placing.beside(each, axis - q.type.rank + each.type.rank) for each in mask]
        return [placing.at_place(q), placing.at_all(k), placing.at_all(v), *wide], attributes, axis
    if others != {axis} or not attributes["causal"] or mask:
        return None
    return [placing.attended(op)], DONE, axis


RULES: dict[str, Callable[[Placing, Op], Given | None]] = {
    "matmul": _matmul, "embedding": _looked_up, "one_hot": _same_axis, "rearrange": _rearranged, "reshape": _reshaped,
    "broadcast": _broadcast, "transpose": _transposed, "slice": _sliced, "concat": _joined, "stack": _joined,
    "attention": _attention, "standardize": _along, "softmax": _along, "log_softmax": _along, "normalize": _along,
}  # fmt: skip
