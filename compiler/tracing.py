"""Trace lambdas and model bodies into tensor programs: every operation of the evaluator on a tensor lands here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Literal

from msgspec import Struct, field

from etude.backends.ops import OperandError, Operation, Parameter, find
from etude.backends.ops.table import OPERANDS
from etude.backends.program.builder import Builder
from etude.backends.program.dims import Dim, Size
from etude.backends.program.ir import Literal as Constant
from etude.backends.program.ir import Operand, Value
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.broadcasting import MEETING, warn_about_meeting_rows
from etude.compiler.class_counts import check_class_counts
from etude.compiler.diagnostics import Location, RecipeError, Related
from etude.compiler.limits import MAX_ELEMENTS, STEPS_OF_AN_OPERATION, count_elements, spend
from etude.compiler.ranges import check_range
from etude.compiler.schema import Vocabulary
from etude.compiler.session import Session
from etude.compiler.suspicions import LOOKED_AT, warn_about
from etude.compiler.values import (
    AnyOrigin,
    Deferred,
    Fitted,
    Identity,
    Made,
    Measured,
    Model,
    Quantity,
    Row,
    Tensor,
    describe,
)

FrameKind = Literal["model", "batch", "row"]
LATE = (
    Made | Deferred | Measured | Size
)  # what becomes a tensor of the function being traced when an operation is given it

LOOKUPS = {"take", "gather", "take_along", "embedding", "one_hot", "cross_entropy"}


AT_ONCE = {Tensor, int, float, bool}
"""What an operation is mostly given, and what is never late."""


class Origins(Struct, frozen=True, dict=True):
    """The origins of a sub-program's slots, shaped like a `Module`, with the shapes that the slots have."""

    slots: tuple[AnyOrigin, ...] = ()
    children: tuple[Origins, ...] = ()

    @cached_property
    def flat(self) -> tuple[AnyOrigin, ...]:
        """All origins at and below: own ones first, then child by child."""
        return (*self.slots, *(origin for child in self.children for origin in child.flat))


class Region(Struct):
    """A function of the rounds or elements of a traced function, while it is traced in its turn.

    `before` operations stood before it. `sources` has for each value that stands for an element what it is one of, and
    None for a state, which the round before made. `key` is that of the function around, where it is read inside.
    """

    name: str
    before: int
    sources: dict[Value, Value | None]
    location: Location
    key: Value | None = None


class Frame(Struct):
    """One function being traced.

    In a `model` frame the inputs are batches and weights may be made; a `batch` frame is a loss, which sees the batch;
    a `row` frame sees one row. `identity`, `structure` and `seed` are those of the model instance in a model frame.
    """

    kind: FrameKind
    builder: Builder
    training: bool
    identity: Identity = ()
    structure: str = ""
    seed: int | None = None
    made: int = 0
    children: dict[Any, int] = field(default_factory=dict)
    child_origins: list[Origins] = field(default_factory=list)
    slot_origins: list[AnyOrigin] = field(default_factory=list)
    uses_mode: bool = False
    reads: dict[tuple[int, int], Any] = field(default_factory=dict)  # (child, place of a weight) to its value
    vocabularies: dict[Any, Vocabulary] = field(default_factory=dict)  # of the inputs that are tokens, by their value
    hosted: dict[str, Fitted] | None = None  # estimators that the host asks first, by the input with what they say
    asked: dict[str, Tensor] = field(default_factory=dict)
    texts: dict[str, Any] = field(
        default_factory=dict
    )  # what the host makes of texts first, by the input that holds it
    text_inputs: dict[str, Value] = field(default_factory=dict)
    regions: list[Region] = field(default_factory=list)  # outermost first
    running: dict[int, int] = field(default_factory=dict)  # a value of the batch to the slot value that follows it
    session: Any = None  # since it is traced
    parts: dict[int, Model] = field(default_factory=dict)  # the models that are called, by child
    kept: Identity | None = None  # of the wrapper that puts what is called now in the place of a part
    tapped: list[tuple[Identity, Tensor]] = field(default_factory=list)  # what taps around are given, in order
    given: dict[AnyOrigin, Tensor] | None = None  # weights that are inputs of the program, where they are to be
    captured: list[Tensor] = field(default_factory=list)  # of functions around, which are the last inputs of a model
    row: Any = None  # the columns that a function of rows is given

    @property
    def rounds(self) -> Region | None:
        """The innermost function of rounds or elements that is being traced."""
        return next((region for region in reversed(self.regions) if region.name != "choose"), None)

    def origins(self) -> Origins:
        return Origins(tuple(self.slot_origins), tuple(self.child_origins))


def tensor(frame: Frame, operand: Operand, location: Location, classes: int | None = None) -> Tensor:
    return Tensor(operand, frame.builder, location, classes)


def operand_of(frame: Frame, value: Any, location: Location, what: str) -> Operand:
    """A tensor of this frame, or a number, as an operand."""
    if type(value) is Tensor:
        if value.builder is not frame.builder:
            raise faults.wrong_value(
                f"{what} is a tensor of another function", location, "hand it over as an input of the model"
            )
        return value.operand
    if isinstance(value, bool | int | float):
        return Constant(value)
    if isinstance(value, Deferred | Measured):
        from etude.compiler.measured import held

        return held(frame, value, location).operand
    if isinstance(value, Quantity) and value.unit == "px":
        return Constant(value.value)
    raise faults.wrong_kind(what, "a tensor or a number", describe(value), location, _as_one_tensor(value))


def lifted(frame: Frame, value: Tensor, location: Location) -> Tensor:
    """A tensor of this frame, or one of a function around a model, as a further input of the model."""
    if value.builder is frame.builder or frame.kind != "model" or not isinstance(value.operand, Value):
        return value
    known = next((i for i, each in enumerate(frame.captured) if each.operand == value.operand), None)
    if known is None:
        known = len(frame.captured)
        frame.captured.append(value)
        frame.builder.input(f"given_{known}", value.type)
    inputs = frame.builder.inputs[len(frame.builder.inputs) - len(frame.captured) :]
    return tensor(frame, inputs[known][1], location)


def _as_one_tensor(value: Any) -> str | None:
    """How one tensor is taken from what holds several."""
    if isinstance(value, Row):
        names = list(value)
        return f"this is the whole row; take columns of it: ({{{', '.join(names[:2])}}}) => ..., or row.{names[0]}"
    if isinstance(value, list):
        return "make one tensor of it: stack(xs), concat(xs), or tensor([1, 2]) of plain numbers"
    return None


def apply_operation(
    session: Session, name: str, values: Sequence[Any], attributes: Mapping[str, Any], location: Location
) -> Any:
    """Append an operation of the table to the function being traced; its result is a tensor, or a list of tensors."""
    frame = session.frame
    operation = find(name)
    assert operation is not None, f"no operation is called {name}"
    if frame is None:
        help = (
            f'column(generate(1examples, () => {{x: {name}(...)}}), "x")[0] draws once' if operation.is_random else None
        )
        raise faults.only_in_traced_code(f"'{name}'", location, "a model, or a function given to a stage", help)
    spend(session, STEPS_OF_AN_OPERATION, location)
    values = [
        made_tensor(session, v, location) if type(v) not in AT_ONCE and isinstance(v, LATE) else v for v in values
    ]
    what = f"'{name}'"
    operands = [operand_of(frame, value, location, what) for value in values]
    check_class_counts(frame, name, values, attributes, location)
    if name in LOOKUPS:
        from etude.compiler.lookups import check_lookup

        check_lookup(frame, name, values, attributes, location)
    try:
        results = frame.builder.apply(name, operands, {**_defaults(name), **attributes})
    except OperandError as error:
        raise faults.wrong_shape(name, error.message, location, _operand_places(values), error.hint) from None
    if name in LOOKED_AT:
        warn_about(session, frame, name, values, {**_defaults(name), **attributes}, location)
    for result in results:
        count = count_elements(result.type.shape)
        if count < 0 or count > MAX_ELEMENTS:
            raise _impossible(name, result.type, location)
    made = [tensor(frame, result, location) for result in results]
    if name in MEETING and _has_rows_twice(results[0].type.shape):
        warn_about_meeting_rows(session, name, values, made[0], location)
    return made[0] if len(made) == 1 else made


def _has_rows_twice(shape: tuple[Dim, ...]) -> bool:
    return len(shape) > 1 and isinstance(shape[0], Size) and any(isinstance(dim, Size) for dim in shape[1:])


def _impossible(name: str, type: TensorType, location: Location) -> RecipeError:
    """A result that no machine holds."""
    if any(isinstance(dim, int) and dim < 0 for dim in type.shape):
        return faults.wrong_value(f"'{name}' cannot make {type}: a dimension is not below 0", location)
    text = f"'{name}': {type} has more than {MAX_ELEMENTS:,} numbers"
    return faults.wrong_value(text, location, "no machine holds so many")


def made_tensor(session: Session, value: Any, location: Location) -> Tensor:
    """A tensor made of plain numbers, or known after the run, in the function being traced."""
    frame = session.frame
    assert frame is not None
    if isinstance(value, Made):
        result = call_operation(session, value.operation, value.positional, value.named, location)
        assert isinstance(result, Tensor)
        return result
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Deferred | Measured):
        from etude.compiler.measured import held

        return held(frame, value, location)
    if isinstance(value, Size):
        ones = apply_operation(session, "full", [1], {"shape": (value,)}, location)
        return call_operation(session, "sum", [ones], {}, location)  # type: ignore[no-any-return]
    if isinstance(value, bool | int | float):
        dtype: Any = {bool: "bool", int: "int32", float: "float32"}[type(value)]
        made = apply_operation(session, "full", [value], {"shape": ()}, location)
        return cast(session, made, dtype, location)
    help = "write tensor([...])" if isinstance(value, list) else None
    expected = "zeros(...), ones(...) or a number"
    raise faults.wrong_kind("a tensor made of plain numbers", expected, describe(value), location, help)


def _operand_places(values: Sequence[Any]) -> list[Related]:
    return [Related(v.location, f"this is {v.type}") for v in values if isinstance(v, Tensor)]


@cache
def _defaults(name: str) -> Mapping[str, Any]:
    operation = find(name)
    assert operation is not None
    return {p.name: parse_default(p) for p in operation.attribute_parameters if p.default is not None}


def parse_default(parameter: Parameter) -> Any:
    """The default of an attribute as its row writes it."""
    text = parameter.default or "none"
    if text in {"none", "true", "false", "()"}:
        return {"none": None, "true": True, "false": False, "()": ()}[text]
    if parameter.kind in {"text", "dtype"} or text.startswith('"'):
        return text.strip('"')
    return float(text) if parameter.kind == "real" else int(text)


def cast(session: Session, value: Tensor, dtype: Any, location: Location) -> Tensor:
    frame = session.frame
    assert frame is not None
    return tensor(frame, frame.builder.cast(operand_of(frame, value, location, "cast"), dtype), location)


# --- operations as the recipe calls them ---------------------------------------------------------


def call_operation(
    session: Session, name: str, positional: Sequence[Any], named: Mapping[str, Any], location: Location
) -> Any:
    """`softmax(x, axis = -1)`: bind the arguments by the row's signature, then apply."""
    operation = find(name)
    assert operation is not None
    if operation.is_random and "like" in named:
        named = {**{k: v for k, v in named.items() if k != "like"}, "shape": _shape_of(named["like"], location)}
    if operation.is_random:
        named = _scalar_by_default(operation, positional, named)
    given = _bind(operation, positional, named, location)
    check_range(name, given, location)
    values, attributes = [], {}
    for parameter in operation.parameters:
        if parameter.kind == "numbers":
            values.extend(_items(given[parameter.name], operation, location))
        elif parameter.kind in OPERANDS:
            if given.get(parameter.name) is not None:
                values.append(_stacked(session, given[parameter.name], location))
            elif parameter.name in given and parameter.default != "none":
                raise faults.wrong_kind(f"'{parameter.name}' of '{name}'", "a tensor", "none", location)
        elif parameter.name in given:
            attributes[parameter.name] = attribute(parameter, given[parameter.name], name, location)
    if operation.has_optional:
        attributes["has"] = tuple(p.name for p in operation.operand_parameters if given.get(p.name) is not None)
    return apply_operation(session, name, values, attributes, location)


def is_random(name: str) -> bool:
    """Whether an operation draws."""
    operation = find(name)
    return operation is not None and operation.is_random


def _scalar_by_default(operation: Operation, positional: Sequence[Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
    """A draw without a shape is one number."""
    names = [p.name for p in operation.parameters]
    if "shape" not in names or "shape" in named or len(positional) > names.index("shape"):
        return named
    return {**named, "shape": []}


def _stacked(session: Session, value: Any, location: Location) -> Any:
    """A list of tensors where one tensor is expected: they are stacked along a new first axis."""
    if isinstance(value, list) and value and all(isinstance(item, Tensor | int | float | LATE) for item in value):
        return apply_operation(session, "stack", value, {"axis": 0}, location)
    return value


def _shape_of(value: Any, location: Location) -> list[Any]:
    if not isinstance(value, Tensor):
        raise faults.wrong_kind("'like'", "a tensor", describe(value), location)
    return list(value.type.shape)


def _bind(
    operation: Operation, positional: Sequence[Any], named: Mapping[str, Any], location: Location
) -> dict[str, Any]:
    names = operation.names
    if len(positional) > len(names):
        takes = _takes(operation)
        raise faults.too_many_arguments(operation.name, len(names), len(positional), location, takes)
    given = dict(zip(names, positional, strict=False))
    sizes = operation.sizes
    if sizes is not None:
        given[sizes] = tuple((name, value) for name, value in named.items() if name not in names)
        named = {name: value for name, value in named.items() if name in names}
    for name, value in named.items():
        if name not in names:
            raise faults.unknown_argument(operation.name, name, location, names)
        if name in given:
            raise faults.repeated_argument(operation.name, name, location)
        given[name] = value
    for parameter in operation.parameters if len(given) < len(names) else ():
        if parameter.name not in given and parameter.default is None:
            raise faults.missing_argument(operation.name, parameter.name, location)
        if parameter.name not in given and parameter.is_operand and parameter.default != "none":
            given[parameter.name] = float(parameter.default or 0)
    return given


def _takes(operation: Operation) -> str:
    """The arguments of an operation in their order, which is not everywhere that of NumPy."""
    return f"'{operation.name}' takes {', '.join(parameter.name for parameter in operation.parameters)}"


def _items(value: Any, operation: Operation, location: Location) -> list[Any]:
    if not isinstance(value, list) or not value:
        help = f"{_takes(operation)}: the tensors are a list, [a, b]"
        raise faults.wrong_kind(f"'{operation.name}'", "a list of tensors", describe(value), location, help)
    return value


def attribute(parameter: Parameter, value: Any, function: str, location: Location) -> Any:
    """A static argument of an operation, checked for its kind."""
    what = f"'{parameter.name}' of '{function}'"
    if isinstance(value, Quantity) and value.unit == "px":
        value = value.value
    if value is None and parameter.default == "none":
        return None
    check, expected = ATTRIBUTE_KINDS[parameter.kind]
    traced = next((item for item in _flat(value) if isinstance(item, Tensor)), None)
    if traced is not None:
        help = "the number of a round is a tensor, unless the loop is over a list: [1, 2, 3]"
        raise faults.wrong_kind(what, f"{expected} known before the run", str(traced.type), location, help)
    value = _frozen(value)
    if not check(value):
        if _is_late(value):
            raise faults.after_the_run(what, location)
        operation = find(function)
        takes = _takes(operation) if operation is not None and len(operation.parameters) > 1 else None
        raise faults.wrong_kind(what, expected, describe(value), location, otherwise=takes)
    return float(value) if parameter.kind == "real" else value


def _is_late(value: Any) -> bool:
    """Whether a value, or one of a list, is known only after the run."""
    return isinstance(value, Deferred | Measured) or (isinstance(value, tuple) and any(map(_is_late, value)))


def _flat(value: Any) -> list[Any]:
    return [inner for item in value for inner in _flat(item)] if isinstance(value, list) else [value]


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _is_dim(value: Any) -> bool:
    return isinstance(value, int | Size) and not isinstance(value, bool)


def _is_dims(value: Any) -> bool:
    return isinstance(value, tuple) and all(_is_dim(item) for item in value)


ATTRIBUTE_KINDS: dict[str, tuple[Any, str]] = {
    "axis": (lambda v: isinstance(v, int) and not isinstance(v, bool), "an axis number"),
    "axes": (lambda v: _is_dim(v) or _is_dims(v), "an axis or a list of axes"),
    "shape": (_is_dims, "a list of dimensions"),
    "integer": (_is_dim, "an int"),
    "integers": (lambda v: _is_dim(v) or _is_dims(v) or isinstance(v, tuple), "an int or a list of ints"),
    "dim": (_is_dim, "a dimension"),
    "padding": (lambda v: isinstance(v, str) or _is_dim(v) or _is_dims(v), '"same", "valid", an int or a list of ints'),
    "widths": (lambda v: _is_dim(v) or isinstance(v, tuple), "an int, or a list of [before, after] pairs"),
    "sizes": (lambda v: all(_is_dim(size) for _, size in v), "ints by name"),
    "values": (lambda v: isinstance(v, tuple | int | float), "a list of numbers"),
    "items": (lambda v: isinstance(v, tuple), "an index"),
    "real": (lambda v: isinstance(v, int | float) and not isinstance(v, bool), "a number known before the run"),
    "flag": (lambda v: isinstance(v, bool), "true or false"),
    "text": (lambda v: isinstance(v, str), "a string"),
    "dtype": (lambda v: v in {"bool", "int32", "float32"}, "a dtype"),
}


def is_weight(frame: Frame, value: Tensor) -> int | None:
    """The slot that `value` is the weight of, if it is one."""
    for op in frame.builder.ops:
        if op.name == "weight" and op.results[0] == value.operand:
            return int(op.attrs["slot"])
    return None


def name_value(frame: Frame, value: Tensor, name: str) -> None:
    """Remember the recipe's name of a traced value, for the source that is emitted."""
    if value.builder is frame.builder and isinstance(value.operand, Value):
        frame.builder.names.setdefault(value.operand.id, name)
        if value.operand.id in frame.running:
            frame.builder.names.setdefault(frame.running[value.operand.id], name)
