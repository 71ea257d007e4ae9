"""Annotations of parameters: what a value must be to fit one."""

from __future__ import annotations

from typing import Any

from etude.backends.program.dims import Size
from etude.compiler import faults
from etude.compiler.diagnostics import Location
from etude.compiler.scopes import Scope
from etude.compiler.values import (
    Adapter,
    Builtin,
    Closure,
    Dataset,
    Deferred,
    Endless,
    Fitted,
    Measured,
    Model,
    ModelClass,
    OperationValue,
    Quantity,
    Range,
    Record,
    Setting,
    Tensor,
    Tokenizer,
    describe,
)
from etude.grammar import nodes


def is_int(value: Any) -> bool:
    return isinstance(value, int | Size) and not isinstance(value, bool)


def is_float(value: Any) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool)) or (
        isinstance(value, Deferred) and value.kind == "number"
    )


def is_function(value: Any) -> bool:
    return isinstance(value, Closure | Builtin | OperationValue | ModelClass | Model)


KINDS: dict[str, tuple[Any, str]] = {
    "int": (is_int, "an int"),
    "float": (is_float, "a number"),
    "fraction": (is_float, "a share such as 10%"),
    "bool": (lambda v: isinstance(v, bool), "true or false"),
    "string": (lambda v: isinstance(v, str), "a string"),
    "duration": (lambda v: isinstance(v, Quantity) and v.unit != "bytes", "a duration such as 3epochs or 100steps"),
    "bytes": (lambda v: isinstance(v, Quantity) and v.unit == "bytes", "a size such as 16GiB"),
    "list": (lambda v: isinstance(v, list | Range), "a list"),
    "fn": (is_function, "a function"),
    "Dataset": (lambda v: isinstance(v, Dataset | Endless), "a dataset"),
    "Model": (lambda v: isinstance(v, Model | Fitted), "a model"),
    "Tokenizer": (lambda v: isinstance(v, Tokenizer), "a tokenizer such as bpe(vocab = 2k, on = data)"),
    "Adapter": (lambda v: isinstance(v, Adapter), "an adapter"),
    "Tensor": (lambda v: isinstance(v, Tensor | Measured), "a tensor"),
    "Metric": (lambda v: isinstance(v, Deferred), "a value known after the run"),
    "Optimizer": (lambda v: isinstance(v, Setting) and v.kind == "optimizer", "an optimizer such as adamw(lr = 1e-3)"),
    "Schedule": (lambda v: isinstance(v, Setting) and v.kind == "schedule", "a schedule such as cosine()"),
    "Record": (lambda v: isinstance(v, Record), "a record"),
}


def matches(value: Any, type: nodes.TypeNode) -> bool:
    """Whether a value fits a written type; unknown type names fit nothing."""
    if isinstance(type, nodes.RecordType):
        return isinstance(value, Record) and all(name in value and matches(value[name], t) for name, t in type.fields)
    if value is None:
        return type.optional
    known = KINDS.get(type.name)
    if known is None or not known[0](value):
        return False
    if type.name == "list" and type.arguments and isinstance(value, list):
        return all(matches(item, type.arguments[0]) for item in value)
    return True


def expected_text(type: nodes.TypeNode) -> str:
    if isinstance(type, nodes.RecordType):
        return "a record with " + ", ".join(name for name, _ in type.fields)
    text = KINDS[type.name][1] if type.name in KINDS else type.name
    return text + (" or none" if type.optional else "")


def _comes_too_late(value: Any, type: nodes.NamedType) -> bool:
    """Whether a value would fit, were it known before the run."""
    if type.name == "list" and isinstance(value, list) and type.arguments:
        inner = type.arguments[0]
        return isinstance(inner, nodes.NamedType) and any(_comes_too_late(item, inner) for item in value)
    return isinstance(value, Deferred) and type.name in {"int", "bool", "string", "duration"}


def check_annotation(value: Any, parameter: nodes.Parameter, scope: Scope, place: Location, function: str) -> Any:
    """`value` if it fits the parameter's annotation; an int is taken where a float is expected."""
    assert parameter.type is not None
    type = parameter.type
    if isinstance(type, nodes.NamedType) and type.name not in KINDS:
        raise faults.unknown_name(type.name, Location(scope.source, type.span), KINDS)
    if not matches(value, type):
        what = f"'{parameter.name}' of '{function}'"
        if isinstance(type, nodes.NamedType) and _comes_too_late(value, type):
            raise faults.after_the_run(what, place)
        raise faults.wrong_kind(what, expected_text(type), describe(value), place)
    return value
