"""Models with other tensors in the place of their weights, and the inner loop of gradient steps that makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from etude.backends.program.dims import b
from etude.backends.program.explicit import flat_slots, moved
from etude.backends.program.ir import Literal, Sub
from etude.compiler import faults
from etude.compiler.cuts import explicit_model
from etude.compiler.derivatives import derivatives
from etude.compiler.diagnostics import Location
from etude.compiler.instances import Traced, model_name
from etude.compiler.models import (
    add_child,
    assembled,
    batched,
    call_mode,
    call_model,
    call_traced,
    canonical_types,
    child_of,
    given_values,
    trace_model,
    unbatched,
)
from etude.compiler.session import Session
from etude.compiler.tracing import Origins, apply_operation, lifted, name_value, operand_of
from etude.compiler.trees import local, place_weights, read, weights_of, write
from etude.compiler.values import Chain, Frozen, Model, Rebound, Tapped, Tensor, Tree, describe
from etude.compiler.weight_paths import named_weights
from etude.compiler.wrappers import rewrap


def rebound(session: Session, model: Model, tree: Tree, location: Location) -> Model:
    """A model with the tensors of a tree, shaped like its weights, in the place of these."""
    if isinstance(model, Tapped):
        inner = rebound(session, model.base, tree, location)
        return replace(model, identity=("rebound", inner.identity, model.identity), base=inner)
    base = model.base if isinstance(model, Rebound) else model
    named = [(path, slot, origin) for path, slot, origin in named_weights(session, base) if not slot.running]
    leaves = local(session, tree, location).leaves
    if len(leaves) != len(named):
        text = f"'{model_name(base)}' has {len(named)} weights, the tree {len(leaves)} tensors"
        raise faults.wrong_shape("with", text, location, (), "give it a tree shaped like weights(m)")
    for (path, slot, _), leaf in zip(named, leaves, strict=True):
        if leaf.type != slot.type:
            text = f"the weight '{path}' is {slot.type}, the tensor in its place {leaf.type}"
            raise faults.wrong_shape("with", text, location, (), "give it a tree shaped like weights(m)")
    tensors = {origin: leaf for (_, _, origin), leaf in zip(named, leaves, strict=True)}
    return Rebound(("rebound", session.next_id(), base.identity), base, tensors, name=base.name)


def call_rebound(
    session: Session,
    model: Rebound,
    arguments: Sequence[Any],
    location: Location,
    evaluator: Any,
    *,
    training: bool | None = None,
) -> Any:
    """Call the model as a function of its weights, by default in training mode where these learn."""
    frame = session.frame
    assert frame is not None
    is_row = frame.kind == "row"
    if isinstance(model.base, Chain) and not is_row:
        parts = tuple(rewrap(model, part) if isinstance(part, Model) else part for part in model.base.parts)
        chained = replace(model.base, identity=("chain", model.identity), parts=parts)
        return call_model(session, chained, arguments, location, evaluator)
    for argument in arguments:
        if not isinstance(argument, Tensor):
            raise faults.wrong_kind(f"input of '{model_name(model)}'", "a tensor", describe(argument), location)
    types, batch = canonical_types([batched(a.type) if is_row else a.type for a in arguments])
    mode = call_mode(session, frame, model.base) if training is None else training
    traced = trace_model(session, model.base, types, mode, location, evaluator)
    frame.uses_mode |= traced.uses_mode
    missing = {origin for origin in traced.origins.flat if origin not in model.tensors}
    place_weights(frame, session, model.base, missing)
    sub = explicit_model(session, traced.sub, moving=True)
    weights = given_values(session, traced, location, stop=training is False)
    for origin in traced.origins.flat:
        own = model.tensors.get(origin)
        weights.append(read(frame, origin, location) if own is None else lifted(frame, own, location))
    if is_row:
        return _called_on_rows(session, model, sub, traced, arguments, weights, location)
    key = ("explicit", id(sub))
    if key not in frame.children:
        frame.children[key] = add_child(frame, sub.name, sub, _without_weights(traced.origins))
    operands = [operand_of(frame, value, location, "an input") for value in (*arguments, *weights)]
    types = [value.type.at_batch(batch) for _, value in traced.sub.outputs]
    places = moved(traced.sub)
    running = [slot.type for _, slot in flat_slots(traced.sub)]
    results = frame.builder.call(frame.children[key], operands, [*types, *(running[place] for place in places)])
    for place, value in zip(places, results[len(types) :], strict=True):
        write(frame, traced.origins.flat[place], value)
    return assembled(frame, traced, results[: len(types)], location)


def call_on_rows(session: Session, model: Model, traced: Traced, arguments: Sequence[Any], location: Location) -> Any:
    """Call a model that has tensors of a row in the place of some weights, as a function of all of them."""
    frame = session.frame
    assert frame is not None
    child_of(frame, model, traced)
    weights = given_values(session, traced, location, stop=isinstance(model, Frozen))
    weights += [read(frame, origin, location) for origin in traced.origins.flat]
    return _called_on_rows(session, model, explicit_model(session, traced.sub), traced, arguments, weights, location)


def _called_on_rows(
    session: Session,
    model: Model,
    sub: Sub,
    traced: Traced,
    arguments: Sequence[Any],
    weights: Sequence[Tensor],
    location: Location,
) -> Any:
    frame = session.frame
    assert frame is not None
    # each call has a child of its own: some of them get weights of each row
    child = add_child(frame, sub.name, sub, _without_weights(traced.origins))
    operands = [operand_of(frame, value, location, "an input") for value in (*arguments, *weights)]
    types = [unbatched(value.type.at_batch(b), model, location) for _, value in traced.sub.outputs]
    attributes = {"child": child, "site": frame.builder.next_site(), "rows": True, "weights": len(weights)}
    frame.builder.is_random |= sub.is_random
    results = frame.builder.append("call", operands, attributes, types)
    return assembled(frame, traced, results, location)


def call_frozen(session: Session, model: Frozen, arguments: Sequence[Any], location: Location, evaluator: Any) -> Any:
    """Call a model so that nothing learns through it: weights that learn elsewhere are read, and stopped."""
    frame = session.frame
    assert frame is not None
    frame.uses_mode = True
    if isinstance(model.base, Rebound):
        held = model.base.tensors.items()
        tensors = {o: apply_operation(session, "stop", [lifted(frame, t, location)], {}, location) for o, t in held}
        return call_rebound(
            session, replace(model.base, tensors=tensors), arguments, location, evaluator, training=False
        )
    named = named_weights(session, model.base) if session.live else []
    moving = dict.fromkeys(origin for _, _, origin in named if session.live and origin in session.live)
    if not moving:
        return call_traced(session, model, arguments, location, evaluator)
    place_weights(frame, session, model.base, set(moving))
    tensors = {o: apply_operation(session, "stop", [read(frame, o, location)], {}, location) for o in moving}
    current = Rebound(("frozen now", session.next_id(), model.identity), model.base, tensors, name=model.name)
    return call_rebound(session, current, arguments, location, evaluator, training=False)


def _without_weights(origins: Origins) -> Origins:
    return Origins((), tuple(_without_weights(child) for child in origins.children))


def _named(session: Session, tree: Tree, leaves: Sequence[Tensor]) -> Tree:
    """Leaves at the paths of a tree, called so in the source that is emitted."""
    assert session.frame is not None
    for path, leaf in zip(tree.paths, leaves, strict=True):
        name_value(session.frame, leaf, path.replace(".", "_"))
    return Tree(tree.paths, tuple(leaves))


def _discover(session: Session, model: Model, loss: Any, location: Location, evaluator: Any) -> None:
    """Find out which weights a model has by calling it once; the operations of that call are taken back."""
    frame = session.frame
    assert frame is not None
    known, reads = {id(op) for op in frame.builder.ops}, dict(frame.reads)
    evaluator.call(loss, [model], {}, location)
    frame.builder.ops[:] = [op for op in frame.builder.ops if id(op) in known or op.name == "key"]
    frame.reads = reads


def descend(
    session: Session, model: Model, loss: Any, steps: int, lr: Any, location: Location, evaluator: Any
) -> Model:
    """The model after some steps of gradient descent, as a function of the weights that it starts from."""
    frame = session.frame
    assert frame is not None
    if not named_weights(session, model):
        _discover(session, model, loss, location, evaluator)
    tree = weights_of(session, model, location)
    # values of their own: the loss may also read the weights that the descent starts from, which are no part of it
    tree = _named(session, tree, [apply_operation(session, "mul", [leaf, 1.0], {}, location) for leaf in tree.leaves])
    for _ in range(steps):
        value = evaluator.call(loss, [rebound(session, model, tree, location)], {}, location)
        if not isinstance(value, Tensor) or isinstance(value.operand, Literal) or value.type.rank:
            got = str(value.type) if isinstance(value, Tensor) else describe(value)
            raise faults.not_a_scalar("the loss of 'descend'", got, location)
        found = derivatives(session, value, tree.leaves, location, what="the model that 'descend' gives the loss")
        moved = []
        for leaf, slope in zip(tree.leaves, found, strict=True):
            scaled = apply_operation(session, "mul", [slope, lr], {}, location)
            moved.append(apply_operation(session, "sub", [leaf, scaled], {}, location))
        tree = _named(session, tree, moved)
    return rebound(session, model, tree, location)
