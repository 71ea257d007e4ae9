"""Annotations of parameters, results and params: what a value must be to fit one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.backends.program.dims import Size
from etude.compiler import faults
from etude.compiler.diagnostics import Location
from etude.compiler.schema import ColumnSchema
from etude.compiler.scopes import MISSING, Lazy, Scope
from etude.compiler.values import (
    Adapter,
    Builtin,
    Closure,
    Dataset,
    Deferred,
    Endless,
    Fitted,
    Made,
    Measured,
    Model,
    ModelClass,
    OperationValue,
    Output,
    Quantity,
    Range,
    Record,
    Setting,
    Tensor,
    Tokenizer,
    Tree,
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
    "Tensor": (lambda v: isinstance(v, Tensor | Measured | Made | Tree), "a tensor"),
    "Metric": (lambda v: isinstance(v, Deferred), "a value known after the run"),
    "Optimizer": (lambda v: isinstance(v, Setting) and v.kind == "optimizer", "an optimizer such as adamw(lr = 1e-3)"),
    "Schedule": (lambda v: isinstance(v, Setting) and v.kind == "schedule", "a schedule such as cosine()"),
    "Table": (lambda v: isinstance(v, Output) and v.kind in {"table", "history"}, "a table"),
    "Figure": (lambda v: isinstance(v, Output) and v.kind == "figure", "a figure such as plot(m.history)"),
    "Record": (lambda v: isinstance(v, Record), "a record"),
}
COLUMNS = ("Tensor", "label", "text")
"""What the columns of a dataset can be said to be."""


# --- written types --------------------------------------------------------------------------------


def check_type(type: nodes.TypeNode, scope: Scope, *, is_column: bool = False) -> None:
    """Refuse a written type that means nothing: an unknown name, or arguments of what takes none."""
    if isinstance(type, nodes.RecordType):
        for _, inner in type.fields:
            check_type(inner, scope, is_column=is_column)
        return
    known = COLUMNS if is_column else KINDS
    where = Location(scope.source, type.span)
    if type.name not in known:
        if not is_column and type.name in {"label", "text"}:
            help = "label and text are kinds of columns: Dataset[{image: Tensor, label: label(10)}]"
            raise faults.wrong_kind("a type", "a type of values", f"the column kind {type.name}", where, help)
        raise faults.unknown_name(type.name, where, known)
    if type.size is not None and type.name != "label":
        raise faults.wrong_value(f"'{type.name}' has no number of classes", where, "only a column does: label(10)")
    _check_arguments(type, scope, where)


def _check_arguments(type: nodes.NamedType, scope: Scope, where: Location) -> None:
    forms = {"list": "list[int]", "Dataset": "Dataset[{image: Tensor, label: label(10)}]", "Adapter": "Adapter[base]"}
    if not type.arguments:
        return
    if type.name not in forms or len(type.arguments) > 1:
        help = f"write {forms[type.name]}" if type.name in forms else f"write {type.name}"
        raise faults.wrong_value(f"'{type.name}' does not take these arguments", where, help)
    (inner,) = type.arguments
    if type.name == "list":
        check_type(inner, scope)
    elif type.name == "Dataset":
        if not isinstance(inner, nodes.RecordType):
            raise faults.wrong_value("the columns of a dataset are named", where, f"write {forms['Dataset']}")
        check_type(inner, scope, is_column=True)
    elif not isinstance(inner, nodes.NamedType):
        raise faults.wrong_value("an adapter is made for one model", where, "write Adapter[base], with its name")


def expected_text(type: nodes.TypeNode) -> str:
    """What fits a written type."""
    if isinstance(type, nodes.RecordType):
        return f"a record {type_text(type)}"
    text = KINDS[type.name][1] if type.name in KINDS else type.name
    if type.name == "list" and type.arguments:
        text = f"a {type_text(type).removesuffix('?')}"
    elif type.name == "Dataset" and type.arguments:
        text = f"a dataset with {type_text(type.arguments[0])}"
    elif type.name == "Adapter" and type.arguments:
        text = f"an adapter of {type_text(type.arguments[0])}"
    return text + (" or none" if type.optional else "")


def type_text(type: nodes.TypeNode) -> str:
    """A type as it is written."""
    from etude.grammar.printer import type_text as printed

    return printed(type)


# --- values ---------------------------------------------------------------------------------------


def matches(value: Any, type: nodes.TypeNode, scope: Scope | None = None) -> bool:
    """Whether a value fits a written type; unknown type names fit nothing."""
    return found_text(value, type, scope) == ""


def fits_plainly(value: Any, type: nodes.TypeNode) -> bool:
    """Whether a value fits a type of one name, which most types are; `check_annotation` tells for all of them."""
    if not isinstance(type, nodes.NamedType) or type.arguments or type.size is not None:
        return False
    known = KINDS.get(type.name)
    return known is not None and (type.optional if value is None else bool(known[0](value)))


def found_text(value: Any, type: nodes.TypeNode, scope: Scope | None = None) -> str:
    """What a value is instead of what a type asks for; empty where it fits."""
    if isinstance(type, nodes.RecordType):
        return _in_record(value, type, scope)
    if value is None:
        return "" if type.optional else "none"
    known = KINDS.get(type.name)
    if known is None or not known[0](value):
        return describe(value)
    if not type.arguments:
        return ""
    (inner,) = type.arguments
    if type.name == "list":
        items = [value.start] if isinstance(value, Range) else value
        found = ((i, text) for i, item in enumerate(items) if (text := found_text(item, inner, scope)))
        return next((f"a list with {text} at {i}" for i, text in found), "")
    if type.name == "Dataset":
        return _in_columns(value.columns, inner)
    if type.name == "Adapter" and isinstance(inner, nodes.NamedType) and scope is not None:
        return "" if _is_adapter_of(value, inner.name, scope) else "an adapter of another model"
    return ""


def _in_record(value: Any, type: nodes.RecordType, scope: Scope | None) -> str:
    if not isinstance(value, Record):
        return "none" if value is None else describe(value)
    for name, inner in type.fields:
        if name not in value:
            if not (isinstance(inner, nodes.NamedType) and inner.optional):
                return f"a record without {name}"
        elif text := found_text(value[name], inner, scope):
            return f"a record whose {name} is {text}"
    return ""


def _in_columns(columns: Mapping[str, ColumnSchema], type: nodes.TypeNode) -> str:
    assert isinstance(type, nodes.RecordType)
    for name, inner in type.fields:
        assert isinstance(inner, nodes.NamedType)
        if name not in columns:
            return "" if inner.optional else f"one without the column '{name}': it has {', '.join(columns)}"
        column = columns[name]
        kind = column.kind if column.kind in {"label", "text"} else "Tensor"
        if kind != inner.name or inner.size not in {None, column.classes}:
            return f"one whose column '{name}' is {column}"
    return ""


def _is_adapter_of(value: Adapter, name: str, scope: Scope) -> bool:
    base = scope.find(name)
    if isinstance(base, Lazy):
        base = base.force()
    return isinstance(base, Model) and base.identity == value.of.identity


def _comes_too_late(value: Any, type: nodes.NamedType) -> bool:
    """Whether a value would fit, were it known before the run."""
    if type.name == "list" and isinstance(value, list) and type.arguments:
        inner = type.arguments[0]
        return isinstance(inner, nodes.NamedType) and any(_comes_too_late(item, inner) for item in value)
    return isinstance(value, Deferred) and type.name in {"int", "bool", "string", "duration"}


def check_annotation(value: Any, parameter: nodes.Parameter, scope: Scope, place: Location, function: str) -> Any:
    """`value` if it fits the parameter's annotation; an int is taken where a float is expected. `scope` holds the
    parameters before it."""
    type = parameter.type
    assert type is not None
    check_type(type, scope)
    _check_names(type, scope)
    return _checked(value, type, scope, place, f"'{parameter.name}' of '{function}'")


def check_result(value: Any, type: nodes.TypeNode, scope: Scope, place: Location, function: str) -> Any:
    """`value` if it fits what a function is annotated to give."""
    check_type(type, scope)
    _check_names(type, scope)
    return _checked(value, type, scope, place, f"the result of '{function}'")


def _check_names(type: nodes.TypeNode, scope: Scope) -> None:
    """The name in `Adapter[base]` is one of a value."""
    if isinstance(type, nodes.NamedType) and type.name == "Adapter":
        for inner in type.arguments:
            assert isinstance(inner, nodes.NamedType)
            if scope.find(inner.name) is MISSING:
                raise faults.unknown_name(inner.name, Location(scope.source, inner.span), scope.visible())


def _checked(value: Any, type: nodes.TypeNode, scope: Scope, place: Location, what: str) -> Any:
    got = found_text(value, type, scope)
    if not got:
        return value
    if isinstance(type, nodes.NamedType) and _comes_too_late(value, type):
        raise faults.after_the_run(what, place)
    help = None
    if got == "none" and isinstance(type, nodes.NamedType):
        help = f"where none is meant, too, write {type_text(type)}?"
    if isinstance(value, Record) and isinstance(type, nodes.NamedType) and type.name == "Dataset":
        splits = [name for name, part in value.items() if isinstance(part, Dataset)]
        got, help = ("a record of datasets", f"take one of them: .{splits[0]}") if splits else (got, None)
    if isinstance(value, ModelClass) and isinstance(type, nodes.NamedType) and type.name == "Model":
        help = f"a constructor makes a model when it is called: {value.name}(...)"
    raise faults.wrong_kind(what, expected_text(type), got, place, help)
