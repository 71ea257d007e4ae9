"""The bodies of models, traced: sub-programs with their own weights, and the parts that they call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from etude.backends.program.builder import Builder
from etude.backends.program.dims import Dim, Size
from etude.backends.program.ir import Slot, Sub
from etude.backends.program.serialize import sub_digest
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.diagnostics import Location, Related
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, Origins, operand_of, tensor
from etude.compiler.values import (
    AnyOrigin,
    Chain,
    Identity,
    Instance,
    KeptOrigin,
    Model,
    Origin,
    Record,
    Start,
    Tensor,
    Trained,
    Wrapper,
    is_weight,
)

TAPS = "@tap."


class Traced(Struct, frozen=True):
    """A model traced for the types of its inputs: its sub-program, whose weights, and the form of its result.

    `parts` are the models that it calls, by the names of the children; `taps` says for each further output which tap it
    is for: the identity of the `Tapped` around. `captured` are the last inputs: tensors of functions around, which it
    has in the place of weights.
    """

    sub: Sub
    origins: Origins
    result: Any
    uses_mode: bool
    parts: tuple[tuple[str, Model], ...] = ()
    taps: tuple[Identity, ...] = ()
    captured: tuple[Tensor, ...] = ()


def input_names(model: Model) -> list[str]:
    """The names of a model's inputs; a chain that starts with a function takes `x`."""
    if isinstance(model, Instance):
        return [p.name for p in model.definition.node.inputs]
    if isinstance(model, Trained) and model.training.columns:
        return list(model.training.columns)
    if isinstance(model, Wrapper):
        return input_names(model.base)
    if isinstance(model, Chain) and model.parts and isinstance(model.parts[0], Model):
        return input_names(model.parts[0])
    return ["x"]


def needed_inputs(model: Model) -> int:
    """How many of a model's inputs, from the first, have no default: `(ids, mask = none)` needs one."""
    if isinstance(model, Instance):
        return sum(p.default is None for p in model.definition.node.inputs)
    if isinstance(model, Wrapper) and not (isinstance(model, Trained) and model.training.columns):
        return needed_inputs(model.base)
    if isinstance(model, Chain) and model.parts and isinstance(model.parts[0], Model):
        return needed_inputs(model.parts[0])
    return len(input_names(model))


def model_name(model: Model) -> str:
    """What people call a model: its binding, else its constructor."""
    while not model.name and isinstance(model, Wrapper):
        if isinstance(model, Start):
            return f"{model_name(model.base)}_start"
        model = model.base
    if model.name:
        return model.name
    return model.definition.name if isinstance(model, Instance) else "chain"


def trace_instance(
    session: Session, model: Instance, types: Sequence[TensorType], training: bool, location: Location, evaluator: Any
) -> Traced:
    """The body of a model, evaluated on inputs of these types."""
    builder = Builder(model.definition.name, doc=_documentation(model))
    frame = Frame("model", builder, training, model.identity, model.structure, model.seed)
    inputs = inputs_of(frame, model, types, location)
    with session.tracing(frame):
        result = evaluator.model_body(model, inputs)
    return finished(session, frame, result, model, location)


def inputs_of(frame: Frame, model: Model, types: Sequence[TensorType], location: Location) -> list[Tensor]:
    """The inputs of a model, under their names."""
    names = input_names(model)
    if not needed_inputs(model) <= len(types) <= len(names):
        text = f"'{model_name(model)}' takes {len(names)} inputs ({', '.join(names)}), got {len(types)}"
        raise faults.wrong_pattern(text, location)
    given = names[: len(types)]
    return [tensor(frame, frame.builder.input(name, type), location) for name, type in zip(given, types, strict=True)]


def finished(session: Session, frame: Frame, result: Any, model: Model, location: Location) -> Traced:
    """What was traced in a frame, as the sub-program of a model."""
    builder = frame.builder
    outputs: list[tuple[str, Any]] = []
    form = _form(frame, result, "", outputs, model, location)
    outputs += [(f"{TAPS}{index}", value.operand) for index, (_, value) in enumerate(frame.tapped)]
    _name_slots(builder)
    sub = interned(session, builder.build(outputs))
    parts = tuple((sub.children[index].name, part) for index, part in sorted(frame.parts.items()))
    taps = tuple(tap for tap, _ in frame.tapped)
    return Traced(sub, frame.origins(), form, frame.uses_mode, parts, taps, tuple(frame.captured))


def interned(session: Session, sub: Sub) -> Sub:
    """The one object for equal sub-programs, so that a repeated block is one."""
    known: Sub = session.memo.setdefault(("sub", sub_digest(sub)), sub)
    return known


def _form(frame: Frame, value: Any, path: str, outputs: list[Any], model: Model, location: Location) -> Any:
    if isinstance(value, Record):
        return {
            name: _form(frame, item, f"{path}.{name}" if path else name, outputs, model, location)
            for name, item in value.items()
        }
    if isinstance(value, list):
        what = f"the result of '{model_name(model)}'"
        help = "name what it gives, {first: a, second: b}, or make one tensor of it: stack(xs), concat(xs)"
        raise faults.wrong_kind(what, "a tensor, or a record of tensors", "a list", location, help)
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


def check_weights(session: Session, model: Instance, traced: Traced, location: Location) -> None:
    """Refuse two uses of one model that give one of its weights two shapes."""
    for (path, slot), origin in zip(_slots(traced.sub, model_name(model)), traced.origins.flat, strict=True):
        if isinstance(origin, KeptOrigin) or not is_weight(origin):
            continue  # of a model that stands in the place of a part: it has been looked at by itself
        session.memo.setdefault(("slot", origin.fresh.instance, origin.fresh.ordinal), (path, slot))
        first, place, known = session.memo.setdefault(("weight", origin), (path, location, slot))
        if known.type != slot.type:
            here = Related(place, f"here it is {known.type}")
            raise faults.weight_conflict(first, str(known.type), str(slot.type), location, [here])


def slot_of(session: Session, origin: AnyOrigin) -> tuple[str, Slot]:
    """A path and the slot of a weight that has been traced, whatever it is drawn from or has become."""
    found: tuple[str, Slot] = session.memo["slot", origin.fresh.instance, origin.fresh.ordinal]
    return found


def _slots(sub: Sub, path: str) -> list[tuple[str, Slot]]:
    own = [(f"{path}.{slot.name}", slot) for slot in sub.slots]
    return own + [item for child in sub.children for item in _slots(child.sub, f"{path}.{child.name}")]


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
            text = f"a weight cannot have the dimension {dim}, which depends on the batch"
            help = "one number for each row has no axis of features: x[..., newaxis], or stack([row.a, row.b]) in 'map'"
            raise faults.wrong_value(text, location, help)
        if dim < 1:
            raise faults.wrong_value(f"a weight cannot have the dimension {dim}", location, "dimensions are at least 1")
    if around := frame.rounds:
        raise faults.weights_in_region("weight", around.name, location, around.location)
    origin = Origin(frame.identity, len(frame.slot_origins), frame.structure, frame.seed)
    frame.slot_origins.append(origin)
    return tensor(frame, frame.builder.weight(Slot("", TensorType("float32", shape), init, running)), location)
