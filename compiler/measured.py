"""Tensors known after the run: operations on them outside of traced functions, and values that such functions hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from etude.backends.ops import find
from etude.backends.program.builder import Builder
from etude.backends.program.dims import Size
from etude.backends.program.ir import Literal, Slot, StageProgram
from etude.backends.program.serialize import program_to_json
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.calls import CallSite
from etude.compiler.diagnostics import Location, Related
from etude.compiler.limits import MAX_LISTED, count_elements
from etude.compiler.models import add_child
from etude.compiler.session import Session
from etude.compiler.slots import Inputs
from etude.compiler.tracing import Frame, Origins, apply_operation, made_tensor, tensor
from etude.compiler.values import (
    Computation,
    Deferred,
    FrozenOrigin,
    Made,
    Measured,
    StartOrigin,
    Stored,
    StoredOrigin,
    Tensor,
    TrainedOrigin,
    ValueOrigin,
)
from etude.compiler.workflow import Ref

Late = Measured | Deferred
Apply = Callable[[list[Tensor]], Any]


def is_late(value: Any) -> bool:
    """Whether a value is a number or a tensor known after the run, or a list with one. One that is made of plain
    numbers counts: the compiler holds no tensors, so that arithmetic on it is a stage, too."""
    return isinstance(value, Late | Made) or (isinstance(value, list) and any(map(is_late, value)))


def as_measured(session: Session, value: Any, location: Location) -> Any:
    """A tensor of plain numbers outside of traced functions as one that a stage makes; anything else as it is."""
    if not isinstance(value, Made) or session.frame is not None:
        return value
    return operated(session, [value], {}, lambda given, _: made_tensor(session, given[0], location), location)


def type_of(value: Late) -> TensorType:
    """What a value known after the run is among tensors."""
    if isinstance(value, Measured):
        return value.type
    return TensorType("bool" if value.kind == "bool" else value.dtype)


# --- operations outside of traced functions -------------------------------------------------------


def computed(session: Session, operands: Sequence[Late], apply: Apply, location: Location) -> Any:
    """What `apply` makes of the operands: one value, or a list where it gives several. Numbers are computed by a
    stage of their own, tensors by that of what needs them."""
    rows = _common_rows(session, operands, location)
    frame = Frame("batch", Builder("tensor"), False)
    given = [_input(frame, i, operand, location) for i, operand in enumerate(operands)]
    with session.tracing(frame):
        result = apply(given)
    if frame.builder.is_random:
        raise faults.only_in_traced_code("a draw", location, "a model, or a function given to a stage")
    several = isinstance(result, list)
    computation = Computation(tuple(operands), (lambda values: apply(values)) if several else lambda v: [apply(v)])
    made = [
        _value(session, Measured(_type(each), computation, index, rows, _classes(each)), location)
        for index, each in enumerate(result if several else [result])
    ]
    return made if several else made[0]


def operated(
    session: Session, positional: Sequence[Any], named: Mapping[str, Any], apply: Callable[..., Any], location: Location
) -> Any:
    """What `apply(positional, named)` gives, where some arguments, or elements of lists, are known after the run."""
    operands: list[Late] = []
    _collect([*positional, *named.values()], operands)

    def traced(tensors: list[Tensor]) -> Any:
        rest = iter(tensors)
        given = [_filled(value, rest) for value in positional]
        return apply(given, {name: _filled(value, rest) for name, value in named.items()})

    return computed(session, operands, traced, location)


def shape_of(session: Session, value: Measured, location: Location) -> list[Any]:
    """The dimensions of a measured tensor; how many rows it has may itself be known after the run."""
    return [
        dim if isinstance(dim, int) else computed(session, [value], partial(_size, session, dim, location), location)
        for dim in value.type.shape
    ]


def _size(session: Session, dim: Size, location: Location, given: list[Tensor]) -> Tensor:
    return made_tensor(session, dim, location)


def check_settings(name: str, positional: Sequence[Any], named: Mapping[str, Any], location: Location) -> None:
    """Refuse values known after the run as settings of an operation: axes, shapes, dtypes."""
    operation = find(name)
    assert operation is not None
    by_place = dict(zip((parameter.name for parameter in operation.parameters), positional, strict=False))
    for parameter in operation.attribute_parameters:
        if is_late({**by_place, **named}.get(parameter.name)):
            raise faults.after_the_run(f"'{parameter.name}' of '{name}'", location)


def _collect(value: Any, found: list[Late]) -> None:
    if isinstance(value, list):
        for item in value:
            _collect(item, found)
    elif isinstance(value, Late):
        found.append(value)


def _filled(value: Any, rest: Iterator[Tensor]) -> Any:
    if isinstance(value, list):
        return [_filled(item, rest) for item in value]
    return next(rest) if isinstance(value, Late) else value


def _type(value: Any) -> TensorType:
    """The type of what an operation gave: a tensor, or a plain number."""
    if isinstance(value, Tensor):
        return value.type
    return Literal(value).type


def _classes(value: Any) -> int | None:
    return value.classes if isinstance(value, Tensor) else None


def _input(frame: Frame, index: int, operand: Late, location: Location) -> Tensor:
    classes = operand.classes if isinstance(operand, Measured) else None
    return tensor(frame, frame.builder.input(f"x{index}", type_of(operand)), location, classes)


def _common_rows(session: Session, operands: Sequence[Late], location: Location) -> Ref | None:
    """The dataset whose rows the operands have. Two have one length only if it is the same."""
    found = [o.rows for o in operands if isinstance(o, Measured) and o.rows is not None]
    for other in found[1:]:
        if other != found[0]:
            places = [Related(session.places[ref.stage], "rows of this") for ref in (found[0], other)]
            text = "these tensors have the rows of two datasets, and how many that is shows only while running"
            raise faults.wrong_shape("arithmetic", text, location, places, "collect both from one dataset")
    return found[0] if found else None


def _value(session: Session, value: Measured, location: Location) -> Any:
    """A tensor as it is; a single number or truth value as one that tables, claims and choices take."""
    if value.type.rank:
        if not any(isinstance(dim, Size) for dim in value.type.shape):
            return Measured(value.type, value.source, value.index, None, value.classes)
        return value
    ref = stage_of(_site(session, location), value)
    return Deferred(["ref", ref.stage, ref.port], *_kind(value.type))


def _kind(type: TensorType) -> tuple[str, Any]:
    return ("bool", "float32") if type.dtype == "bool" else ("number", type.dtype)


def _site(session: Session, location: Location) -> CallSite:
    return CallSite(session.evaluator, location, {}, "arithmetic", False)


def stage_of(site: CallSite, value: Measured) -> Ref:
    """The output that holds a measured tensor: a file at "tensor", or for a single number the number at "value"."""
    if isinstance(value.source, Ref) and value.index == 0:
        return value.source
    port = "tensor" if value.type.rank else "value"
    kind = f"Tensor[{value.type}]" if value.type.rank else "Metric"
    return _computing_stage(site, value, {}, port, kind)


def as_number(site: CallSite, value: Any) -> Any:
    """A measured tensor of one number, as a state that was carried is, as the number; anything else as it is."""
    if not isinstance(value, Measured) or value.type.rank:
        return value
    ref = _computing_stage(site, value, {}, "value", "Metric")
    return Deferred(["ref", ref.stage, ref.port], *_kind(value.type))


def as_lists(site: CallSite, value: Measured) -> Deferred:
    """A measured tensor as numbers in nested lists, which tables and heat maps take."""
    numbers = count_elements(value.type.shape)
    if not any(isinstance(dim, Size) for dim in value.type.shape) and numbers > MAX_LISTED:
        text = f"a tensor of {numbers:,} numbers is too large for a table or a heat map"
        raise faults.wrong_value(text, site.location, f"take a part of it, or means: up to {MAX_LISTED:,} numbers")
    ref = _computing_stage(site, value, {"listed": True}, "value", "Metric")
    return Deferred(["ref", ref.stage, ref.port])


def rows_of(site: CallSite, value: Measured) -> list[Deferred]:
    """What stands along the first axis of a measured tensor: numbers, or lists of them."""
    length = value.type.shape[0]
    if not isinstance(length, int):
        raise faults.after_the_run("how many rows this tensor has", site.location)
    whole = as_lists(site, value)
    return [Deferred(["at", whole.expression, index]) for index in range(length)]


def _computing_stage(site: CallSite, value: Measured, settings: Mapping[str, Any], port: str, kind: str) -> Ref:
    """A stage that computes a tensor from the files and numbers behind it."""
    from etude.compiler.builtins.data import add_stage

    frame, inputs, operands = Frame("batch", Builder("tensor"), False), Inputs(), list[list[Any]]()
    result = _replayed(site, frame, inputs, operands, value)
    operand = (
        result.operand
        if isinstance(result, Tensor)
        else frame.builder.apply("full", [Literal(result)], {"shape": ()})[0]
    )
    program = program_to_json(StageProgram(frame.builder.build([("", operand)]), ()))
    spec = {"program": program, "operands": operands, **settings}
    return Ref(add_stage(site, "tensor", spec, inputs.refs, {port: kind}), port)


def _replayed(site: CallSite, frame: Frame, inputs: Inputs, operands: list[list[Any]], value: Measured) -> Any:
    """All that leads to a value, traced into one program with an input for each file and number that it begins with."""
    done: dict[int, Sequence[Any]] = {}
    known: dict[Any, Tensor] = {}
    for node in _in_order(value):
        given = []
        for operand in node.operands:
            if isinstance(operand, Measured) and isinstance(operand.source, Computation):
                given.append(done[id(operand.source)][operand.index])
                continue
            place = _place(site, inputs, operand)
            key = (*place, type_of(operand))
            if key not in known:
                known[key] = _input(frame, len(operands), operand, site.location)
                operands.append(list(place))
            given.append(known[key])
        with site.session.tracing(frame):
            done[id(node)] = node.apply(given)
    if isinstance(value.source, Computation):
        return done[id(value.source)][value.index]
    operands.append(list(_place(site, inputs, value)))
    return _input(frame, 0, value, site.location)


def _place(site: CallSite, inputs: Inputs, operand: Late) -> tuple[int, int | None]:
    """Where the numbers of an operand are: the stage's input, and the position in the file, None for a number."""
    if isinstance(operand, Measured):
        assert isinstance(operand.source, Ref)
        return inputs.index(operand.source), operand.index
    from etude.compiler.builtins.reporting import compute

    return inputs.index(compute(site, operand)), None


def _in_order(value: Measured) -> list[Computation]:
    """The computations behind a value, each after those that it needs."""
    order: dict[int, Computation] = {}
    stack = [(value.source, False)] if isinstance(value.source, Computation) else []
    while stack:
        node, is_ready = stack.pop()
        if is_ready:
            order[id(node)] = node
        elif id(node) not in order:
            stack.append((node, True))
            for operand in node.operands:
                if isinstance(operand, Measured) and isinstance(operand.source, Computation):
                    stack.append((operand.source, False))
    return list(order.values())


def measured_leaf(session: Session, leaf: Stored, location: Location) -> Any:
    """A tensor of a tree as one that is known after the run."""
    origin = leaf.origin.of if isinstance(leaf.origin, StartOrigin | FrozenOrigin) else leaf.origin
    if isinstance(origin, StoredOrigin | TrainedOrigin):
        return Measured(leaf.type, origin.ref, origin.index)
    if origin is not None:
        text = "these weights are drawn where they are used, and in no file before"
        raise faults.wrong_value(text, location, "take the weights of a trained model, or do this in a function")
    operands = [measured_leaf(session, each, location) if isinstance(each, Stored) else each for each in leaf.operands]

    def apply(given: list[Any], _: Any) -> Any:
        return apply_operation(session, leaf.operation, given, {}, location)

    return operated(session, operands, {}, apply, location)


# --- values that traced functions hold ------------------------------------------------------------


def stored_origin(session: Session, value: Late, location: Location, in_model: bool = False) -> ValueOrigin:
    """Where a stage that needs a value finds it: the stage of the value is made when that one is."""
    return ValueOrigin(_key(value), _maker(session, value, location, in_model))


def fixed_type(value: Late, location: Location) -> TensorType:
    """The type of a value whose shape is known now."""
    kind = type_of(value)
    if any(isinstance(dim, Size) for dim in kind.shape):
        raise faults.after_the_run("how many rows this tensor has", location)
    return kind


def held(frame: Frame, value: Late, location: Location) -> Tensor:
    """A value known after the run as a tensor of the function being traced: its stage reads it when it runs."""
    from etude.compiler.trees import given, read

    kind = fixed_type(value, location)
    origin = stored_origin(frame.session, value, location, frame.kind == "model")
    if frame.given is not None:
        return given(frame, origin, kind, location)
    if origin not in {each for tree in frame.child_origins for each in tree.flat}:
        builder = Builder("measured")
        builder.slots.append(Slot("value", kind, (("kind", "zeros"),)))
        taken = {child.name for child in frame.builder.children}
        name = next(n for n in ("measured", *(f"measured_{i}" for i in range(2, len(taken) + 3))) if n not in taken)
        add_child(frame, name, builder.build([]), Origins((origin,)))
    found = read(frame, origin, location)
    return tensor(frame, found.operand, location, value.classes if isinstance(value, Measured) else None)


def _key(value: Late) -> Any:
    if isinstance(value, Deferred):
        return ("number", repr(value.expression), type_of(value))
    return ("tensor", value.source if isinstance(value.source, Ref) else id(value.source), value.index)


def _maker(session: Session, value: Late, location: Location, in_model: bool) -> Callable[[], Ref]:
    """Makes the stage of a held value when the stage that holds it is made: both run under the same conditions."""

    def made() -> Ref:
        ref = _file(_site(session, location), value)
        if in_model:
            session.memo.setdefault("configured", {}).setdefault(ref, place)
        return ref

    place = session.place(location)
    return made


def _file(site: CallSite, value: Late) -> Ref:
    """The output with a file that has a value as its first tensor."""
    if isinstance(value, Measured):
        return stage_of(site, value)
    from etude.compiler.builtins.data import add_stage
    from etude.compiler.builtins.reporting import compute

    kind = type_of(value)
    spec = {"operands": [[0, None]], "dtype": kind.dtype}
    return Ref(add_stage(site, "tensor", spec, [compute(site, value)], {"tensor": f"Tensor[{kind}]"}), "tensor")
