"""Trees of tensors, shaped like the weights of a model: how they are read, and arithmetic on them leaf by leaf."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etude.backends.ops import find
from etude.backends.ops.rowwise import elementwise
from etude.backends.program.builder import Builder
from etude.backends.program.ir import Literal, Slot, Value
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.diagnostics import Location
from etude.compiler.instances import model_name, slot_of
from etude.compiler.models import add_child, child_of, traced_model
from etude.compiler.origins import start_origin
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, Origins, apply_operation, call_operation, tensor
from etude.compiler.values import (
    AnyOrigin,
    Chain,
    Deferred,
    FrozenOrigin,
    Model,
    Rebound,
    StartOrigin,
    Stored,
    StoredOrigin,
    Tensor,
    Tree,
    describe,
)
from etude.compiler.weight_paths import named_weights

TOTALS = {"sum", "mean", "norm", "max", "min"}


def weights_of(session: Session, model: Model, location: Location) -> Tree:
    """The weights of a model by path: the current ones in a traced function, outside of it as they are then."""
    named = [(path, slot, origin) for path, slot, origin in named_weights(session, model) if not slot.running]
    if not named:
        if session.diagnostics.has_errors and model.identity in session.memo.get("failed calls", ()):
            raise faults.Poisoned  # it was called, and what is wrong there has been told
        text = f"the weights of '{model_name(model)}' are known once it is called: it has not been, up to here"
        raise faults.wrong_value(text, location, "call the model before, or train it")
    paths = tuple(path for path, _, _ in named)
    if session.frame is None:
        return Tree(paths, tuple(Stored(slot.type, start_origin(origin)) for _, slot, origin in named))
    if session.frame.given is not None:
        frame = session.frame
        return Tree(paths, tuple(given(frame, origin, slot.type, location) for _, slot, origin in named))
    own = model.tensors if isinstance(model, Rebound) else {}
    base = model.base if isinstance(model, Rebound) else model
    place_weights(session.frame, session, base, {origin for _, _, origin in named if origin not in own})
    found = [own.get(origin) or read(session.frame, origin, location) for _, _, origin in named]
    return Tree(paths, tuple(found))


def place_weights(frame: Frame, session: Session, model: Model, origins: set[AnyOrigin]) -> None:
    """Make the weights of a model reachable from a function: as a child, unless its calls have made it one."""
    if origins <= {origin for tree in frame.child_origins for origin in tree.flat}:
        return
    if isinstance(model, Chain):
        for part in model.parts:
            if isinstance(part, Model):
                place_weights(frame, session, part, {origin for _, _, origin in named_weights(session, part)})
        return
    traced = traced_model(session, model)
    assert traced is not None, "a model whose weights are known has been traced"
    child_of(frame, model, traced)


def given(frame: Frame, origin: AnyOrigin, type: TensorType, location: Location) -> Tensor:
    """A weight, or a tensor that a file holds, as an input of a program that makes weights of weights."""
    assert frame.given is not None
    plain = origin.of if isinstance(origin, StartOrigin | FrozenOrigin) else origin
    if plain not in frame.given:
        value = frame.builder.input(f"w{len(frame.given)}", type)  # not its path, which is only for people
        frame.given[plain] = tensor(frame, value, location)
    return frame.given[plain]


def read(frame: Frame, origin: AnyOrigin, location: Location) -> Tensor:
    """The weight of an origin, as a tensor of a function that has it among its children."""
    for child, tree in enumerate(frame.child_origins):
        if origin in tree.flat:
            place = tree.flat.index(origin)
            known = (child, place)
            if known not in frame.reads:
                kind = slot_at(frame, child, place).type
                (frame.reads[known],) = frame.builder.append("read", (), {"child": child, "slot": place}, (kind,))
            return _not_learned(frame, tensor(frame, frame.reads[known], location), origin, location)
    raise AssertionError("no child has this weight")


def _not_learned(frame: Frame, value: Tensor, origin: AnyOrigin, location: Location) -> Tensor:
    """A weight of a frozen model: where it learns elsewhere, no gradient goes through it."""
    if not isinstance(origin, FrozenOrigin) or frame.kind == "row":
        return value
    live = frame.session.live or frozenset()
    stopped: Tensor = apply_operation(frame.session, "stop", [value], {}, location) if origin.of in live else value
    return stopped


def write(frame: Frame, origin: AnyOrigin, value: Value) -> None:
    """Put a value into a running slot of a child; what is read of it from here on is read again."""
    children = enumerate(frame.child_origins)
    child, place = next((child, tree.flat.index(origin)) for child, tree in children if origin in tree.flat)
    frame.builder.append("write", (value,), {"child": child, "slot": place}, ())
    for known in [(c, p) for c, p in frame.reads if frame.child_origins[c].flat[p] == origin]:
        del frame.reads[known]


def slot_at(frame: Frame, child: int, place: int) -> Slot:
    """The slot of a child's weight by its place among all."""
    from etude.backends.program.explicit import flat_slots

    return list(flat_slots(frame.builder.children[child].sub))[place][1]


# --- trees that come from outside ----------------------------------------------------------------


def local(session: Session, tree: Tree, location: Location) -> Tree:
    """A tree as tensors of the function being traced; as it is outside of one."""
    frame = session.frame
    if frame is None or not any(isinstance(leaf, Stored) for leaf in tree.leaves):
        return tree
    made: dict[int, Any] = {}
    if frame.given is not None:
        return Tree(tree.paths, tuple(_local(session, leaf, location, made) for leaf in tree.leaves))
    seen: set[int] = set()
    stored = [leaf for each in tree.leaves for leaf in _held(each, seen)]
    missing = [leaf for leaf in stored if leaf.origin not in {o for t in frame.child_origins for o in t.flat}]
    if missing:
        _hold(session, frame, tree, missing)
    return Tree(tree.paths, tuple(_local(session, leaf, location, made) for leaf in tree.leaves))


def _held(leaf: Any, seen: set[int]) -> list[Stored]:
    """What files hold of a leaf; `seen` are the parts that were looked at: `a + a` has one part."""
    if not isinstance(leaf, Stored) or id(leaf) in seen:
        return []
    seen.add(id(leaf))
    return [leaf] if leaf.origin is not None else [held for operand in leaf.operands for held in _held(operand, seen)]


def _hold(session: Session, frame: Frame, tree: Tree, missing: Sequence[Stored]) -> None:
    """A child that only has weights: what files hold, for a function to read."""
    builder = Builder("tree")
    origins = list(dict.fromkeys(leaf.origin for leaf in missing))
    types = {leaf.origin: leaf.type for leaf in missing}
    paths = {leaf.origin: path for path, leaf in zip(tree.paths, tree.leaves, strict=True) if leaf.origin is not None}
    for number, origin in enumerate(origins):
        name = paths.get(origin, f"leaf.{number}").replace(".", "_")
        init = (("kind", "zeros"),) if isinstance(origin, StoredOrigin) else slot_of(session, origin)[1].init
        builder.slots.append(Slot(name, types[origin], init))
    taken = {child.name for child in frame.builder.children}
    name = next(n for n in ("tree", *(f"tree_{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    add_child(frame, name, builder.build([]), Origins(tuple(origins)))


def _local(session: Session, leaf: Any, location: Location, made: dict[int, Any]) -> Any:
    if not isinstance(leaf, Stored):
        return leaf
    if id(leaf) not in made:
        made[id(leaf)] = _made(session, leaf, location, made)
    return made[id(leaf)]


def _made(session: Session, leaf: Stored, location: Location, made: dict[int, Any]) -> Any:
    assert session.frame is not None
    if leaf.origin is not None and session.frame.given is not None:
        return given(session.frame, leaf.origin, leaf.type, location)
    if leaf.origin is not None:
        return read(session.frame, leaf.origin, location)
    operands = [_local(session, operand, location, made) for operand in leaf.operands]
    return apply_operation(session, leaf.operation, operands, {}, location)


# --- arithmetic ----------------------------------------------------------------------------------


def combine(session: Session, name: str, values: Sequence[Any], location: Location) -> Tree:
    """An operation of the table leaf by leaf; a number, or a tensor that is one, stands beside every leaf."""
    return _each(session, values, location, lambda items: _applied(session, name, items, location))


def operation(session: Session, name: str, positional: Sequence[Any], named: Mapping[str, Any], at: Location) -> Any:
    """`square(tree)`, leaf by leaf; `sum`, `mean`, `norm`, `max` and `min` of a tree are of all its numbers."""
    row = find(name)
    assert row is not None
    if name in TOTALS and len(positional) == 1 and not named:
        return total(session, name, positional[0], at)
    if row.rows is not elementwise:
        help = "trees take elementwise operations, and sum, mean, norm, max and min"
        raise faults.wrong_kind(f"'{name}'", "a tensor", "a tree of tensors", at, help)
    if session.frame is None and (named or any(p.kind == "tensor" for p in row.operand_parameters[1:])):
        raise faults.only_in_traced_code(f"'{name}' of a tree with settings", at, "a function given to a stage")
    if session.frame is None:
        return combine(session, name, positional, at)
    return _each(session, positional, at, lambda items: call_operation(session, name, items, named, at))


def total(session: Session, name: str, tree: Tree, location: Location) -> Any:
    """All numbers of a tree reduced to one."""
    if session.frame is None:
        from etude.compiler.measured import computed, measured_leaf

        kept = [measured_leaf(session, leaf, location) for leaf in tree.leaves]
        return computed(
            session, kept, lambda given: total(session, name, Tree(tree.paths, tuple(given)), location), location
        )
    leaves = local(session, tree, location).leaves
    if name == "norm":
        squares = [call_operation(session, "square", [leaf], {}, location) for leaf in leaves]
        return call_operation(session, "sqrt", [_summed(session, squares, location)], {}, location)
    if name in {"max", "min"}:
        found = [call_operation(session, name, [leaf], {}, location) for leaf in leaves]
        return call_operation(session, name, [found], {}, location) if len(found) > 1 else found[0]
    summed = _summed(session, leaves, location)
    if name == "sum":
        return summed
    sizes = [leaf.type.size for leaf in leaves]
    return apply_operation(session, "div", [summed, float(sum(sizes))], {}, location)


def _summed(session: Session, leaves: Sequence[Any], location: Location) -> Any:
    parts = [call_operation(session, "sum", [leaf], {}, location) for leaf in leaves]
    result = parts[0]
    for part in parts[1:]:
        result = apply_operation(session, "add", [result, part], {}, location)
    return result


def _each(session: Session, values: Sequence[Any], location: Location, apply: Callable[[list[Any]], Any]) -> Tree:
    trees = [local(session, value, location) for value in values if isinstance(value, Tree)]
    first = trees[0]
    for other in trees[1:]:
        _check_alike(first, other, location)
    rows = []
    for index in range(len(first.leaves)):
        found = iter(trees)
        rows.append([next(found).leaves[index] if isinstance(value, Tree) else value for value in values])
    return Tree(first.paths, tuple(apply(row) for row in rows))


def _check_alike(first: Tree, other: Tree, location: Location) -> None:
    """Two trees must have the same shapes in the same order."""
    if len(first.leaves) != len(other.leaves):
        text = f"one tree has {len(first.leaves)} tensors, the other {len(other.leaves)}"
        raise faults.wrong_shape("arithmetic", text, location, (), "both must be shaped like the weights of one model")
    for path, a, b in zip(first.paths, first.leaves, other.leaves, strict=True):
        if a.type.shape != b.type.shape:
            text = f"'{path}' is {a.type} in one tree and {b.type} in the other"
            help = "both must be shaped like the weights of one model"
            raise faults.wrong_shape("arithmetic", text, location, (), help)


def _applied(session: Session, name: str, values: list[Any], location: Location) -> Any:
    if session.frame is not None:
        return apply_operation(session, name, values, {}, location)
    scratch = Builder("leaf")
    operands: list[Any] = []
    for value in values:
        if isinstance(value, Stored):
            operands.append(scratch.input("x", value.type))
        elif isinstance(value, Deferred) or (isinstance(value, int | float) and not isinstance(value, bool)):
            operands.append(Literal(1.0 if isinstance(value, Deferred) else value))
        else:
            raise faults.wrong_kind("arithmetic on trees", "trees and numbers", describe(value), location)
    return Stored(scratch.apply(name, operands)[0].type, None, name, tuple(values))
