"""Model values: making them, calling them in a traced function, and the origins of their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from etude.backends.program.builder import Builder
from etude.backends.program.dims import Dim, Size, b
from etude.backends.program.ir import Child, Slot, Sub
from etude.backends.program.serialize import sub_digest
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.diagnostics import Location, Related
from etude.compiler.session import Session
from etude.compiler.structure import digest, instance_structure
from etude.compiler.tracing import Frame, Origins, operand_of, tensor
from etude.compiler.values import (
    AnyOrigin,
    Chain,
    Identity,
    Instance,
    Model,
    ModelClass,
    Origin,
    Rebound,
    Record,
    Slow,
    SlowOrigin,
    Start,
    StartOrigin,
    Tensor,
    Trained,
    TrainedOrigin,
    describe,
    is_weight,
)

EvaluateBody = Callable[[ModelClass, Mapping[str, Any], Sequence[Any]], Any]


class Traced(Struct, frozen=True):
    """A model traced for the types of its inputs: its sub-program, whose weights, and the form of its result."""

    sub: Sub
    origins: Origins
    result: Any
    uses_mode: bool


def construct(
    session: Session, definition: ModelClass, configuration: dict[str, Any], seed: int | None, location: Location
) -> Instance:
    """One evaluation of a constructor: a model with an identity of its own."""
    frame = session.frame
    structure = instance_structure(definition, configuration)
    if frame is None or frame.kind != "model":
        identity: Identity = (session.next_id(),)
        if frame is not None:
            session.memo["loose", identity] = True
        return Instance(identity, definition, configuration, seed, structure, location)
    frame.made += 1
    identity = (*frame.identity, frame.made)
    inherited = frame.seed if seed is None else seed
    return Instance(identity, definition, configuration, inherited, digest((frame.structure, frame.made)), location)


def chain(session: Session, parts: Sequence[Any], location: Location, *, is_list: bool = False) -> Chain:
    """Models and functions applied one after another."""
    flat: list[Any] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Chain) and not part.name and not is_list else [part])
    identity: Identity = ("chain", *(p.identity if isinstance(p, Model) else id(p) for p in flat))
    return Chain(identity, tuple(flat), location, is_list)


def input_names(model: Model) -> list[str]:
    """The names of a model's inputs; a chain that starts with a function takes `x`."""
    if isinstance(model, Instance):
        return [p.name for p in model.definition.node.inputs]
    if isinstance(model, Trained) and model.training.columns:
        return list(model.training.columns)
    if isinstance(model, Trained | Slow | Start | Rebound):
        return input_names(model.base)
    if isinstance(model, Chain) and model.parts and isinstance(model.parts[0], Model):
        return input_names(model.parts[0])
    return ["x"]


def model_name(model: Model) -> str:
    """What people call a model: its binding, else its constructor."""
    if model.name:
        return model.name
    if isinstance(model, Instance):
        return model.definition.name
    if isinstance(model, Start):
        return f"{model_name(model.base)}_start"
    return model_name(model.base) if isinstance(model, Trained | Slow | Rebound) else "chain"


def apply_training(model: Model, training: Any) -> Model:
    """`model` with every weight that `training` updated."""
    if isinstance(model, Chain):
        parts = tuple(apply_training(p, training) if isinstance(p, Model) else p for p in model.parts)
        identity = ("trained", training.stage, id(training), model.identity)
        return replace(model, identity=identity, parts=parts)
    return Trained(("trained", training.stage, id(training), model.identity), model, training, name=model.name)


# --- calls ---------------------------------------------------------------------------------------


def call_model(session: Session, model: Model, arguments: Sequence[Any], location: Location, evaluator: Any) -> Any:
    """`model(x, ...)` in the function being traced."""
    frame = session.frame
    if frame is None:
        raise faults.only_in_traced_code("a model call", location, "a model, or a function given to a stage")
    while arguments and arguments[-1] is None:  # an optional input that is handed on and was not given
        arguments = arguments[:-1]
    if surgeries(session):
        from etude.compiler.surgery import call_part

        return call_part(session, model, arguments, location, evaluator)
    return call_plain(session, model, arguments, location, evaluator)

        return call_rebound(session, model, arguments, location, evaluator)
    if isinstance(model, Chain) and frame.kind != "row":
        return _call_chain(session, model, arguments, location, evaluator)
    for argument in arguments:
        if not isinstance(argument, Tensor):
            raise faults.wrong_kind(f"input of '{model_name(model)}'", "a tensor", describe(argument), location)
    is_row = frame.kind == "row"
    types = [_batched(a.type) if is_row else a.type for a in arguments]
    canonical, batch = canonical_types(types)
    traced = trace_model(session, model, canonical, call_mode(session, frame, model), location, evaluator)
    if ("loose", model.identity) in session.memo and any(map(is_weight, traced.origins.flat)):
        raise faults.weights_in_loss(model_name(model), location)
    return _append_call(frame, model, traced, arguments, batch, location, is_row)


def call_mode(session: Session, frame: Frame, model: Model) -> bool:
    """Whether a call is in training mode: exactly if the stage updates one of the model's weights."""
    origins = session.memo.get(("origins", model.identity))
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
        types = [_unbatched(type, model, location) for type in types]
    results = frame.builder.call(child, operands, types, rows=is_row)
    return assembled(frame, traced, results, location)


def assembled(frame: Frame, traced: Traced, results: Sequence[Any], location: Location) -> Any:
    """The results of a call in the form that the model's body returns."""
    values = {path: tensor(frame, r, location) for (path, _), r in zip(traced.sub.outputs, results, strict=True)}
    return _assemble(traced.result, values)


def child_of(frame: Frame, model: Model, traced: Traced) -> int:
    """The index of a traced model among the children of the function being traced; it is added at its first use."""
    key = (model.identity, id(traced.sub))
    if key not in frame.children:
        frame.children[key] = add_child(frame, _child_name(frame, model), traced.sub, traced.origins)
    return frame.children[key]


def add_child(frame: Frame, name: str, sub: Sub, origins: Origins) -> int:
    """A new child of the function being traced."""
    frame.builder.children.append(Child(name, sub))
    frame.child_origins.append(origins)
    return len(frame.builder.children) - 1


def _assemble(form: Any, values: Mapping[str, Tensor]) -> Any:
    if isinstance(form, str):
        return values[form]
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


def _batched(type: TensorType) -> TensorType:
    return type.with_shape((b, *type.shape))


def _unbatched(type: TensorType, model: Model, location: Location) -> TensorType:
    if not type.shape or type.shape[0] != b:
        text = f"'{model_name(model)}' gives {type}, not one value per row"
        raise faults.wrong_value(text, location, "a model called on a row must keep the batch dimension first")
    return type.with_shape(type.shape[1:])


def canonical_types(types: Sequence[TensorType]) -> tuple[list[TensorType], Dim]:
    """The types with their common batch size written as `b`, and that batch size."""
    sizes = {dim for type in types for dim in type.shape if isinstance(dim, Size)}
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
    frozen = _frozen(session, model) if training else None
    key = (model.identity, tuple(types), training, *([frozen] if frozen else []))
    if key not in session.memo:
        if isinstance(model, Trained):
            with _before(session, model):
                base = trace_model(session, model.base, types, training, location, evaluator)
            session.memo[key] = replace(base, origins=_after(base.origins, model.training.updated))
        elif isinstance(model, Slow):
            base = trace_model(session, model.base, types, training, location, evaluator)
            session.memo[key] = replace(base, origins=_slowed(base.origins, model.identity[1]))
        elif isinstance(model, Start):
            base = trace_model(session, model.base, types, training, location, evaluator)
            session.memo[key] = replace(base, origins=_started(base.origins))
        elif isinstance(model, Chain):
            session.memo[key] = _trace_chain(session, model, types, training, location, evaluator)
        else:
            assert isinstance(model, Instance)
            session.memo[key] = _trace_instance(session, model, types, training, location, evaluator)
            _check_weights(session, model, session.memo[key], location)
        if not session.memo[key].uses_mode:
            session.memo[model.identity, tuple(types), not training] = session.memo[key]
            session.memo[model.identity, tuple(types), training] = session.memo[key]
    traced: Traced = session.memo[key]
    session.memo["origins", model.identity] = [origin for origin in traced.origins.flat if is_weight(origin)]
    session.memo["traced", model.identity] = traced
    return traced


def _frozen(session: Session, model: Model) -> frozenset[AnyOrigin]:
    """The weights of a model that do not learn in the stage being traced: its parts with them are not in training."""
    if session.live is None:
        return frozenset()
    return frozenset(session.memo.get(("origins", model.identity), ())) - session.live


@contextmanager
def _before(session: Session, model: Trained) -> Iterator[None]:
    """What learns, in terms of the weights that a trained model's base has."""
    outer = session.live
    if outer is not None:
        session.live = outer | {old for old, new in model.training.updated.items() if new in outer}
        session.live -= {old for old, new in model.training.updated.items() if new not in outer}
    try:
        yield
    finally:
        session.live = outer


def traced_model(session: Session, model: Model) -> Traced | None:
    """A model as it was traced last, if it has been."""
    found: Traced | None = session.memo.get(("traced", model.identity))
    if found is None and isinstance(model, Trained | Start):
        base = traced_model(session, model.base)
        if base is not None:
            if isinstance(model, Start):
                return replace(base, origins=_started(base.origins))
            return replace(base, origins=_after(base.origins, model.training.updated))
    return found


def _after(origins: Origins, updated: Mapping[AnyOrigin, AnyOrigin]) -> Origins:
    slots = tuple(updated.get(origin, origin) for origin in origins.slots)
    return Origins(slots, tuple(_after(child, updated) for child in origins.children))


def slow_origin(name: str, origin: AnyOrigin) -> AnyOrigin:
    """The weight of the slow copy `name` that follows a weight."""
    return SlowOrigin(name, origin) if isinstance(origin, Origin | TrainedOrigin) else origin


def _slowed(origins: Origins, name: str) -> Origins:
    slots = tuple(slow_origin(name, origin) for origin in origins.slots)
    return Origins(slots, tuple(_slowed(child, name) for child in origins.children))


def start_of(model: Model) -> Model:
    """A model with the weights that it has when a stage begins."""
    if isinstance(model, Chain):
        parts = tuple(start_of(part) if isinstance(part, Model) else part for part in model.parts)
        return replace(model, identity=("start", model.identity), parts=parts)
    return model if isinstance(model, Start | Slow) else Start(("start", model.identity), model, name=model.name)


def start_origin(origin: AnyOrigin) -> AnyOrigin:
    """A weight as it is when a stage begins."""
    return StartOrigin(origin) if isinstance(origin, Origin | TrainedOrigin) else origin


def _started(origins: Origins) -> Origins:
    slots = tuple(start_origin(origin) for origin in origins.slots)
    return Origins(slots, tuple(_started(child) for child in origins.children))


def _trace_instance(
    session: Session, model: Instance, types: Sequence[TensorType], training: bool, location: Location, evaluator: Any
) -> Traced:
    builder = Builder(model.definition.name, doc=_documentation(model))
    frame = Frame("model", builder, training, model.identity, model.structure, model.seed)
    inputs = _inputs(frame, model, types, location)
    with session.tracing(frame):
        result = evaluator.model_body(model, inputs)
    return _traced(session, frame, result, model, location)


def _trace_chain(
    session: Session, model: Chain, types: Sequence[TensorType], training: bool, location: Location, evaluator: Any
) -> Traced:
    """A chain as a sub-program of its own, where its functions must see the batch though the caller sees a row."""
    frame = Frame("model", Builder(model.name or "chain"), training, model.identity)
    inputs = _inputs(frame, model, types, location)
    with session.tracing(frame):
        result = _call_chain(session, replace(model, name=None), inputs, location, evaluator)
    return _traced(session, frame, result, model, location)


def _inputs(frame: Frame, model: Model, types: Sequence[TensorType], location: Location) -> list[Tensor]:
    names = input_names(model)
    if len(names) != len(types):
        text = f"'{model_name(model)}' takes {len(names)} inputs ({', '.join(names)}), got {len(types)}"
        raise faults.wrong_pattern(text, location)
    return [tensor(frame, frame.builder.input(name, type), location) for name, type in zip(names, types, strict=True)]


def _traced(session: Session, frame: Frame, result: Any, model: Model, location: Location) -> Traced:
    builder = frame.builder
    outputs: list[tuple[str, Any]] = []
    form = _form(frame, result, "", outputs, model, location)
    _name_slots(builder)
    sub = _interned(session, builder.build(outputs))
    return Traced(sub, frame.origins(), form, frame.uses_mode)


def _interned(session: Session, sub: Sub) -> Sub:
    """The one object for equal sub-programs, so that a repeated block is one."""
    known: Sub = session.memo.setdefault(("sub", sub_digest(sub)), sub)
    return known


def _form(frame: Frame, value: Any, path: str, outputs: list[Any], model: Model, location: Location) -> Any:
    if isinstance(value, Record):
        return {
            name: _form(frame, item, f"{path}.{name}" if path else name, outputs, model, location)
            for name, item in value.items()
        }
    outputs.append((path, operand_of(frame, value, location, f"the result of '{model_name(model)}'")))
    return path


def _name_slots(builder: Builder) -> None:
    """Give each weight the name it was bound to; unnamed ones are `weight`, `weight_2`."""
    taken: set[str] = set()
    by_slot = {op.attrs["slot"]: op.results[0].id for op in builder.ops if op.name == "weight"}
    for index, slot in enumerate(builder.slots):
        wanted = builder.names.get(by_slot[index], "weight")
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        taken.add(name)
        builder.slots[index] = Slot(name, slot.type, slot.init, slot.running)


def _documentation(model: Instance) -> str:
    settings = [f"{k}={_short(v)}" for k, v in model.configuration.items()]
    return f"{model.definition.name}({', '.join(s for s in settings if not s.endswith('=?'))})"


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | str):
        return repr(value)
    if isinstance(value, list) and all(isinstance(item, int | float) for item in value):
        return str(value)
    return getattr(value, "name", None) or "?"


def _check_weights(session: Session, model: Instance, traced: Traced, location: Location) -> None:
    """Refuse two uses of one model that give one of its weights two shapes."""
    for (path, slot), origin in zip(_slots(traced.sub, model_name(model)), flat_origins(traced.origins), strict=True):
        first, place, known = session.memo.setdefault(("weight", origin), (path, location, slot))
        if known.type != slot.type:
            here = Related(place, f"here it is {known.type}")
            raise faults.weight_conflict(first, str(known.type), str(slot.type), location, [here])


def _slots(sub: Sub, path: str) -> list[tuple[str, Slot]]:
    own = [(f"{path}.{slot.name}", slot) for slot in sub.slots]
    return own + [item for child in sub.children for item in _slots(child.sub, f"{path}.{child.name}")]


def slots_of(sub: Sub, path: str) -> list[tuple[str, Slot]]:
    """All slots at and below a sub-program with their paths, own ones first, then child by child."""
    return _slots(sub, path)


def flat_origins(origins: Origins) -> list[AnyOrigin]:
    """All origins at and below, in the order of `slots_of`."""
    return list(origins.flat)


def add_weight(
    session: Session,
    shape: tuple[Dim, ...],
    init: tuple[tuple[str, Any], ...],
    location: Location,
    *,
    running: bool = False,
) -> Tensor:
    """A new weight of the model being traced."""
    frame = session.frame
    if frame is None or frame.kind != "model":
        raise faults.only_in_traced_code("'weight'", location, "the body of a model")
    for dim in shape:
        if isinstance(dim, Size):
            raise faults.wrong_value(f"a weight cannot have the dimension {dim}, which depends on the batch", location)
    origin = Origin(frame.identity, len(frame.slot_origins), frame.structure, frame.seed)
    frame.slot_origins.append(origin)
    return tensor(frame, frame.builder.weight(Slot("", TensorType("float32", shape), init, running)), location)


def model_origins(session: Session, model: Model) -> list[AnyOrigin]:
    """The origins of a model's weights, as far as it has been traced; a chain has those of its parts."""
    if isinstance(model, Chain):
        return [o for part in model.parts if isinstance(part, Model) for o in model_origins(session, part)]
    if isinstance(model, Slow):
        return [slow_origin(model.identity[1], o) for o in model_origins(session, model.base)]
    if isinstance(model, Start):
        return [start_origin(o) for o in model_origins(session, model.base)]
    if isinstance(model, Trained):
        return [model.training.updated.get(o, o) for o in model_origins(session, model.base)]
    found: list[AnyOrigin] = session.memo.get(("origins", model.identity), [])
    return found
