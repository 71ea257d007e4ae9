"""Model values: making them, and calling them in a traced function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from etude.backends.program.builder import Builder
from etude.backends.program.dims import Dim, Size, b
from etude.backends.program.ir import Child, Sub
from etude.backends.program.stopping import stopped
from etude.backends.program.types import TensorType
from etude.compiler import faults, weight_faults
from etude.compiler.diagnostics import Location, RecipeError
from etude.compiler.instances import (
    TAPS,
    Traced,
    check_weights,
    finished,
    input_names,
    inputs_of,
    interned,
    model_name,
    trace_instance,
)
from etude.compiler.limits import MAX_DEPTH, STEPS_OF_A_MODEL, spend
from etude.compiler.origins import kept_origin, mapped, origin_map, released_origin
from etude.compiler.session import Session
from etude.compiler.structure import digest, instance_structure
from etude.compiler.tracing import Frame, Origins, apply_operation, lifted, operand_of, tensor
from etude.compiler.values import (
    Adapter,
    AnyOrigin,
    Chain,
    Frozen,
    FrozenOrigin,
    Identity,
    Instance,
    Model,
    ModelClass,
    Origin,
    Rebound,
    Record,
    Replaced,
    Row,
    Tapped,
    Tensor,
    Trained,
    Wrapper,
    describe,
    is_weight,
)
from etude.compiler.vocabularies import check_tokens


def construct(
    session: Session, definition: ModelClass, configuration: dict[str, Any], seed: int | None, location: Location
) -> Instance:
    """One evaluation of a constructor: a model with an identity of its own."""
    frame = session.frame
    spend(session, STEPS_OF_A_MODEL, session.place(location))
    if len(session.frames) > MAX_DEPTH:
        text = f"models are nested more than {MAX_DEPTH} deep"
        raise faults.wrong_value(text, location, "a model cannot hold itself; use a list of blocks, or a loop")
    structure = instance_structure(definition, configuration)
    if session.ordinal is not None:
        structure = digest((structure, session.ordinal))
    if frame is None or frame.kind != "model":
        identity: Identity = (session.next_id(),)
        if frame is not None:
            session.memo["loose", identity] = True
        return Instance(identity, definition, configuration, seed, structure, location)
    frame.made += 1
    identity = (*frame.identity, frame.made)
    if around := frame.rounds:
        session.memo["rounds", identity] = around
    inherited = frame.seed if seed is None else seed
    return Instance(identity, definition, configuration, inherited, digest((frame.structure, frame.made)), location)


def chain(session: Session, parts: Sequence[Any], location: Location, *, is_list: bool = False) -> Chain:
    """Models and functions applied one after another."""
    flat: list[Any] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Chain) and not part.name and not is_list else [part])
    identity: Identity = ("chain", *(p.identity if isinstance(p, Model) else id(p) for p in flat))
    return Chain(identity, tuple(flat), location, is_list)


def holds_weights(value: Any) -> bool:
    """Whether a value is a model, or holds one, that is more than functions one after another."""
    if isinstance(value, list | Record):
        return any(map(holds_weights, value if isinstance(value, list) else value.values()))
    if isinstance(value, Chain):
        return any(map(holds_weights, value.parts))
    return isinstance(value, Model)


def inputs_by_column(model: Model, row: Row) -> list[str]:
    """The inputs of a model, where they are columns of the row."""
    names = input_names(model)
    return names if all(name in row for name in names) else []


# --- calls ---------------------------------------------------------------------------------------


def call_model(session: Session, model: Model, arguments: Sequence[Any], location: Location, evaluator: Any) -> Any:
    """`model(x, ...)` in the function being traced: of a part that another stands in for, that one."""
    if session.frame is None:
        help = "of a dataset: map(d, row => {...row, p: m(row.image)}), or accuracy(m, on = d)"
        raise faults.only_in_traced_code("a model call", location, "a model, or a function given to a stage", help)
    while arguments and arguments[-1] is None:  # an optional input that is handed on and was not given
        arguments = arguments[:-1]
    try:
        if surgeries(session):
            from etude.compiler.surgery import call_part

            return call_part(session, model, arguments, location, evaluator)
        return call_plain(session, model, arguments, location, evaluator)
    except (RecipeError, faults.Poisoned):
        session.memo.setdefault("failed calls", set()).add(model.identity)
        raise


def call_plain(session: Session, model: Model, arguments: Sequence[Any], location: Location, evaluator: Any) -> Any:
    """Call a model as it is."""
    frame = session.frame
    assert frame is not None
    if type(model) is Rebound:
        from etude.compiler.rebinding import call_rebound

        return call_rebound(session, model, arguments, location, evaluator)
    if type(model) is Frozen:
        from etude.compiler.rebinding import call_frozen

        return call_frozen(session, model, arguments, location, evaluator)
    if type(model) is Tapped:
        from etude.compiler.surgery import call_tapped

        return call_tapped(session, model, arguments, location, evaluator)
    if isinstance(model, Adapter):
        return call_model(session, replace(model.base, name=model.name), arguments, location, evaluator)
    return call_traced(session, model, arguments, location, evaluator)


def call_traced(session: Session, model: Model, arguments: Sequence[Any], location: Location, evaluator: Any) -> Any:
    """Call a model as a sub-program of its own; the parts of a chain one by one."""
    frame = session.frame
    assert frame is not None
    if isinstance(model, Chain) and frame.kind != "row":
        if all(isinstance(argument, Tensor) for argument in arguments):
            session.memo["types", model.identity] = tuple(canonical_types([a.type for a in arguments])[0])
        return _call_chain(session, model, arguments, location, evaluator)
    for argument in arguments:
        if not isinstance(argument, Tensor):
            help = None
            if isinstance(argument, Row):
                name = model_name(model)
                taken = ", ".join(f"row.{each}" for each in inputs_by_column(model, argument) or list(argument)[:1])
                help = f"a model takes columns: {name}({taken})"
            raise faults.wrong_kind(f"input of '{model_name(model)}'", "a tensor", describe(argument), location, help)
    is_row = frame.kind == "row"
    types = [batched(a.type) if is_row else a.type for a in arguments]
    canonical, batch = canonical_types(types)
    traced = trace_model(session, model, canonical, call_mode(session, frame, model), location, evaluator)
    if frame.kind != "model":
        check_tokens(session, frame, model_name(model), traced, arguments, location)
    if ("rounds", model.identity) in session.memo and _makes_weights(model, traced):
        around = session.memo["rounds", model.identity]
        raise faults.weights_in_region(model_name(model), around.name, location, around.location)
    if ("loose", model.identity) in session.memo and _makes_weights(model, traced):
        raise faults.weights_in_loss(model_name(model), location)
    if traced.captured and is_row:
        from etude.compiler.rebinding import call_on_rows

        return call_on_rows(session, model, traced, arguments, location)
    if frame.kind == "batch":
        traced = _stopped(session, traced)
    given = given_values(session, traced, location, stop=isinstance(model, Frozen))
    return _append_call(frame, model, traced, [*arguments, *given], batch, location, is_row)


def _makes_weights(model: Model, traced: Traced) -> bool:
    """Whether a model has weights of its own, not only those of models that it was given."""
    size = len(model.identity)
    return any(isinstance(o, Origin) and o.instance[:size] == model.identity for o in traced.origins.flat)


def given_values(session: Session, traced: Traced, location: Location, *, stop: bool) -> list[Tensor]:
    """The tensors that a model has in the place of weights, in the function being traced."""
    frame = session.frame
    assert frame is not None
    values = [lifted(frame, value, location) for value in traced.captured]
    return [apply_operation(session, "stop", [value], {}, location) for value in values] if stop else values


def _stopped(session: Session, traced: Traced) -> Traced:
    """A model with frozen parts: no gradient goes through those weights of them that learn elsewhere."""
    live = session.live or frozenset()
    moving = [isinstance(o, FrozenOrigin) and o.of in live for o in traced.origins.flat]
    return replace(traced, sub=interned(session, stopped(traced.sub, moving))) if any(moving) else traced


def call_mode(session: Session, frame: Frame, model: Model) -> bool:
    """Whether a call is in training mode: exactly if the stage updates one of the model's weights."""
    origins = session.memo.get(("origins", model.identity, *surgeries(session)))
    if frame.kind == "model" and not frame.training:
        return False  # nothing of what it is part of learns, whatever else its weights are
    if session.live is None or not origins:
        return frame.training
    return any(origin in session.live for origin in origins)


def _append_call(
    frame: Frame, model: Model, traced: Traced, arguments: Sequence[Any], batch: Dim, location: Location, is_row: bool
) -> Any:
    frame.uses_mode |= traced.uses_mode
    child = child_of(frame, model, traced)
    operands = [operand_of(frame, a, location, "an input") for a in arguments]
    types = [value.type.at_batch(batch) for _, value in traced.sub.outputs]
    if is_row:
        types = [unbatched(type, model, location) for type in types]
    results = frame.builder.call(child, operands, types, rows=is_row)
    return assembled(frame, traced, results, location)


def assembled(frame: Frame, traced: Traced, results: Sequence[Any], location: Location) -> Any:
    """The results of a call in the form that the model's body returns."""
    values = {path: tensor(frame, r, location) for (path, _), r in zip(traced.sub.outputs, results, strict=True)}
    frame.tapped += [(tap, values[f"{TAPS}{index}"]) for index, tap in enumerate(traced.taps)]
    return _assemble(traced.result, values)


def child_of(frame: Frame, model: Model, traced: Traced) -> int:
    """The index of a traced model among the children of the function being traced; it is added at its first use."""
    key = (model.identity, id(traced.sub), frame.kept)
    if key not in frame.children:
        origins = traced.origins if frame.kept is None else mapped(traced.origins, kept_origin(frame.kept))
        frame.children[key] = add_child(frame, _child_name(frame, model), traced.sub, origins)
        frame.parts[frame.children[key]] = model
    return frame.children[key]


def add_child(frame: Frame, name: str, sub: Sub, origins: Origins) -> int:
    """A new child of the function being traced."""
    frame.builder.children.append(Child(name, sub))
    frame.child_origins.append(origins)
    return len(frame.builder.children) - 1


def _assemble(form: Any, values: Mapping[str, Tensor]) -> Any:
    if isinstance(form, str):
        return values[form]
    if isinstance(form, list):
        return [_assemble(item, values) for item in form]
    return Record({name: _assemble(item, values) for name, item in form.items()})


def _call_chain(session: Session, model: Chain, arguments: Sequence[Any], location: Location, evaluator: Any) -> Any:
    if not isinstance(model.parts[0], Model) and len(arguments) != 1:
        text = f"'{model_name(model)}' starts with a function of one tensor, but gets {len(arguments)} inputs"
        raise faults.wrong_pattern(text, location)
    value, rest = arguments[0], list(arguments[1:])
    for index, part in enumerate(model.parts):
        given = [value, *rest] if model.is_list or index == 0 else [value]
        if isinstance(part, Model):
            value = call_model(session, _named_part(model, part, index), given, location, evaluator)
        else:
            value = evaluator.call(part, given, {}, location)
    return value


def _named_part(model: Chain, part: Model, index: int) -> Model:
    """A part under the name that its weights have: the chain's own when it is the only part with weights."""
    if model.is_list:
        return part.named(f"{model.name}.{index}") if model.name else part
    if model.name is None:
        return part
    is_only = sum(isinstance(p, Model) for p in model.parts) == 1
    return replace(part, name=model.name if is_only else f"{model.name}_{model_name(part)}")


def _child_name(frame: Frame, model: Model) -> str:
    wanted = model_name(model)
    taken = {child.name for child in frame.builder.children}
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    return name


def batched(type: TensorType) -> TensorType:
    """The type of a batch of what a row has."""
    return type.with_shape((b, *type.shape))


def unbatched(type: TensorType, model: Model, location: Location) -> TensorType:
    """The type that a row has of what a model gives for a batch."""
    if not type.shape or type.shape[0] != b:
        text = f"'{model_name(model)}' gives {type}, not one value per row"
        raise faults.wrong_value(text, location, "a model called on a row must keep the batch dimension first")
    return type.with_shape(type.shape[1:])


def canonical_types(types: Sequence[TensorType]) -> tuple[list[TensorType], Dim]:
    """The types with their common batch size written as `b`, and that batch size."""
    sizes = {dim for type in types for dim in type.shape if isinstance(dim, Size)}
    if sizes == {b}:
        return list(types), b
    if len(sizes) != 1 or not all(type.shape and type.shape[0] in sizes for type in types):
        return list(types), b
    (batch,) = sizes
    renamed = [type.with_shape(tuple(b if dim == batch else dim for dim in type.shape)) for type in types]
    return renamed, batch


# --- tracing -------------------------------------------------------------------------------------


def trace_model(
    session: Session,
    model: Model,
    types: Sequence[TensorType],
    training: bool,
    location: Location,
    evaluator: Any,
) -> Traced:
    """The sub-program of a model for inputs of these types; made once for each distinct model, types and mode."""
    around = surgeries(session)
    place = (model.identity, tuple(types), *around)
    key = (*place, training, *_state(session, model, training))
    if key not in session.memo:
        if isinstance(model, Wrapper):
            session.memo[key] = _trace_wrapper(session, model, types, training, location, evaluator)
        elif isinstance(model, Chain):
            session.memo[key] = _trace_chain(session, model, types, training, location, evaluator)
        else:
            assert isinstance(model, Instance)
            session.memo[key] = trace_instance(session, model, types, training, location, evaluator)
            check_weights(session, model, session.memo[key], location)
        if not session.memo[key].uses_mode:
            session.memo[*place, not training] = session.memo[key]
            session.memo[*place, training] = session.memo[key]
    traced: Traced = session.memo[key]
    origins = [o for o in traced.origins.flat if is_weight(o)]
    if session.memo.get(("origins", model.identity, *around)) != origins:
        session.memo["origins", model.identity, *around] = origins
        if isinstance(model, Instance | Replaced):
            session.memo["known origins"] = {}  # of the models around it
    session.memo["traced", model.identity, *around] = traced
    session.memo["types", model.identity] = tuple(types)
    return traced


def _state(session: Session, model: Model, training: bool) -> list[Any]:
    """What of the stage being traced decides how a model is traced: which of its weights do not learn, so that parts
    with them are not in training, and which of those that are frozen here learn elsewhere."""
    if session.live is None:
        return []
    origins = session.memo.get(("origins", model.identity, *surgeries(session)), ())
    moving = frozenset(o for o in origins if isinstance(o, FrozenOrigin) and o.of in session.live)
    frozen = frozenset(origins) - session.live if training else frozenset()
    return [state for state in (frozen, moving and ("moving", moving)) if state]


def surgeries(session: Session) -> tuple[Identity, ...]:
    """The wrappers of what is being traced, if one replaces or taps parts: what is traced then is theirs alone."""
    if session.wraps and any(isinstance(wrapper, Replaced | Tapped) for wrapper, _ in session.wraps):
        return tuple(wrapper.identity for wrapper, _ in session.wraps)
    return ()


def _trace_wrapper(
    session: Session, model: Wrapper, types: Sequence[TensorType], training: bool, location: Location, evaluator: Any
) -> Traced:
    if isinstance(model, Rebound):
        raise weight_faults.tensors_for_weights(model_name(model), location)
    if isinstance(model, Tapped):
        return _trace_tapped(session, model, types, training, location, evaluator)
    if isinstance(model, Replaced):
        from etude.compiler.surgery import resolved

        resolved(session, model, types, location, evaluator)
    with wrapped(session, model):
        base = trace_model(session, model.base, types, training, location, evaluator)
    change = released_origin(model.identity) if isinstance(model, Replaced) else origin_map(model)
    return replace(base, origins=mapped(base.origins, change))


def _trace_chain(
    session: Session, model: Chain, types: Sequence[TensorType], training: bool, location: Location, evaluator: Any
) -> Traced:
    """A chain as a sub-program of its own, where its functions must see the batch though the caller sees a row."""
    frame = Frame("model", Builder(model.name or "chain"), training, model.identity)
    inputs = inputs_of(frame, model, types, location)
    with session.tracing(frame):
        result = _call_chain(session, replace(model, name=None), inputs, location, evaluator)
    return finished(session, frame, result, model, location)


def _trace_tapped(
    session: Session, model: Tapped, types: Sequence[TensorType], training: bool, location: Location, evaluator: Any
) -> Traced:
    """A tapped model as a sub-program of its own, in what is made of it: a slow copy, one with parts replaced."""
    frame = Frame("model", Builder(model_name(model)), training, model.identity)
    inputs = inputs_of(frame, model, types, location)
    with session.tracing(frame):
        found = call_plain(session, model, inputs, location, evaluator)
    named = {str(place): value for place, value in enumerate(found["activations"])}
    traced = finished(session, frame, Record({**found, "activations": Record(named)}), model, location)
    return replace(traced, result={**traced.result, "activations": list(traced.result["activations"].values())})


@contextmanager
def wrapped(session: Session, model: Wrapper) -> Iterator[None]:
    """Inside, the base of a wrapper is traced: what learns is said in terms of the weights that the base has."""
    wraps, live = session.wraps, session.live
    session.wraps = (*wraps, (model, live))
    if live is not None and isinstance(model, Trained):
        updated = model.training.updated
        session.live = live | {old for old, new in updated.items() if new in live}
        session.live -= {old for old, new in updated.items() if new not in live}
    if live is not None and isinstance(model, Frozen):
        session.live = live - set(model_origins(session, model.base))
    try:
        yield
    finally:
        session.wraps, session.live = wraps, live


def traced_model(session: Session, model: Model) -> Traced | None:
    """A model as it was traced last, if it has been."""
    found: Traced | None = session.memo.get(("traced", model.identity))
    if found is None and isinstance(model, Wrapper) and not isinstance(model, Replaced):
        base = traced_model(session, model.base)
        return None if base is None else replace(base, origins=mapped(base.origins, origin_map(model)))
    return found


def model_origins(session: Session, model: Model) -> list[AnyOrigin]:
    """The origins of a model's weights, as far as it has been traced; a chain has those of its parts."""
    if isinstance(model, Chain):
        return [o for part in model.parts if isinstance(part, Model) for o in model_origins(session, part)]
    if isinstance(model, Wrapper) and not isinstance(model, Replaced):
        # kept, with the model, so that its id stays its own: of a long chain of trainings each asks for all before it
        known = session.memo.setdefault("known origins", {})
        if id(model) not in known:
            known[id(model)] = (list(map(origin_map(model), model_origins(session, model.base))), model)
        return known[id(model)][0]  # type: ignore[no-any-return]
    found: list[AnyOrigin] = session.memo.get(("origins", model.identity), [])
    return found
