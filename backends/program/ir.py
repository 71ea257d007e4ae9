"""The tensor program: a typed SSA list of operations, with one sub-program per distinct model structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from msgspec import Struct, field

from etude.backends.program.types import TensorType


class Value(Struct, frozen=True):
    """A result of an operation or an input; `id` is unique within its `Sub`."""

    id: int
    type: TensorType


class Literal(Struct, frozen=True):
    """A number that stands in the program itself: a scalar operand of its own dtype."""

    value: bool | int | float

    @property
    def type(self) -> TensorType:
        return TensorType({bool: "bool", int: "int32", float: "float32"}[type(self.value)])  # type: ignore[arg-type]


Operand: TypeAlias = Value | Literal


class Op(Struct, frozen=True):
    """One operation. `name` is a row of `backends.ops`, or one of the structural names:

    - `weight`, attribute `slot`: the value of the sub-program's own slot;
    - `update`, attribute `slot`: what a running slot holds from now on; it has no result;
    - `read`, attributes `child` and `slot`: the weight of a child at a place among all of its (`explicit.flat_slots`);
    - `write`, attributes `child` and `slot`: what a running slot of a child, at such a place, holds from now on; it has
      no result;
    - `grad`, attributes `child`, `count` and `mapped`: the derivatives of the only output of a child, which has no
      weights, by its first `count` inputs; the child is given the key as it is. With `mapped`, a truth value for each
      operand, those that are true are batches of rows and so are the results;
    - `each`, attributes `child` and `mapped`: a child without weights, on each element of the first axis of some of the
      operands; `mapped` has, from the outermost level inwards, a truth value for each operand. One that draws has
      a key for each element; with `keyed` "same" the key as it is, with "rows" one by the last operand, row identities;
    - `apply`, attributes `child` and `given`: a child without weights on the operands, which is given the key as it is,
      or with `given` the last operand as the key;
    - `key`: the key of the function itself, for functions in it to draw as it does;
    - `scan`, attributes `child`, `states`, `elements` and `mapped`: a child without weights on the states, which are
      the first operands, and the elements of the first axis of the next, one after the other; its first results are
      the next states, the others are stacked. `mapped` is as in `each`;
    - `loop`, attributes `child`, `start`, `stop`, `states` and `site`: a child without weights on an int32 number, the
      states, which are the first operands, and what else it reads, once for each number from `start` to `stop`, both
      included; its results are the next states. A draw in it has a key of its own for each number;
    - `choose`, attributes `children`, `site` and `select`: the one of several children without weights whose place is
      the first operand, held within the list, on the other operands. With `select` all of them are computed, and the
      place may be one for each row: the first axis of it and of the results;
    - `call`, attributes `child` (index into `children`), `site` (the ordinal of this call, for randomness) and `rows`
      (true in a row program: operands and results are rows, the model sees the batch). Where
      weights are operands `weights` says how many of the last ones are, rather than rows.

    A random operation has the attribute `site`: its ordinal among the random sites of its `Sub`.
    Dimensions in attributes are `Dim`s and may hold `b`.
    """

    name: str
    operands: tuple[Operand, ...]
    attributes: tuple[tuple[str, Any], ...]
    results: tuple[Value, ...]

    @property
    def attrs(self) -> dict[str, Any]:
        return dict(self.attributes)


# Operations that give a function of the program, which has no weights, to the framework.
HIGHER = frozenset({"grad", "each", "scan", "loop", "choose", "apply"})
CALLING = HIGHER | {"call"}
STRUCTURAL = CALLING | {"weight", "update", "read", "write", "key"}


def callees(op: Op) -> tuple[int, ...]:
    """The places of the children that an operation calls."""
    if op.name not in CALLING:
        return ()
    attrs = op.attrs
    return tuple(attrs["children"]) if op.name == "choose" else (attrs["child"],)


def recalled(op: Op, place: Callable[[int], int]) -> Op:
    """The operation with its children at other places."""
    change: dict[str, Callable[[Any], Any]] = {
        "child": place,
        "children": lambda found: tuple(place(child) for child in found),
    }
    if op.name not in CALLING:
        return op
    attributes = tuple((key, change[key](value) if key in change else value) for key, value in op.attributes)
    return Op(op.name, op.operands, attributes, op.results)


class Slot(Struct, frozen=True):
    """A weight that a sub-program owns. `init` is {"kind": "lecun_normal", ...numbers}; `name` is for people.

    `running` slots are updated by the forward pass (batch statistics), never by gradients.
    """

    name: str
    type: TensorType
    init: tuple[tuple[str, Any], ...]
    running: bool = False


class Child(Struct, frozen=True):
    """A sub-model used by a sub-program; two uses of one model value are two calls of one child."""

    name: str
    sub: Sub


class Sub(Struct, frozen=True, dict=True):
    """A sub-program: a model's body, a loss, a row function.

    A model's inputs have the batch `b` as leading dimension; a row function's inputs are single rows.
    `outputs` are named by their path in the returned record ("" when a single tensor is returned).
    `names` (value id to name), `name`, `doc`, slot and child names are for people and no part of equality or keys.
    """

    name: str
    inputs: tuple[tuple[str, Value], ...]
    slots: tuple[Slot, ...]
    children: tuple[Child, ...]
    ops: tuple[Op, ...]
    outputs: tuple[tuple[str, Operand], ...]
    is_random: bool = False
    doc: str = ""
    names: dict[int, str] = field(default_factory=dict)

    def walk(self) -> Iterator[Sub]:
        """This sub-program and all below it, children first, each distinct object once."""
        yield from _walk(self, set())


def _walk(sub: Sub, seen: set[int]) -> Iterator[Sub]:
    if id(sub) in seen:
        return
    seen.add(id(sub))
    for child in sub.children:
        yield from _walk(child.sub, seen)
    yield sub


class Module(Struct, frozen=True):
    """Which of the stage's weights a use of a `Sub` has: `slots[i]` is the index, in the stage's slot table, of the
    weight in the sub-program's slot i; `children` follow `Sub.children`. Equal indices are tied weights."""

    slots: tuple[int, ...] = ()
    children: tuple[Module, ...] = ()


class StageProgram(Struct, frozen=True):
    """A traced lambda with the weights of the models that it mentions: `modules[i]` belongs to `sub.children[i]`."""

    sub: Sub
    modules: tuple[Module, ...]
