"""Columns found in values: numbers, truth values, texts, classes, and lists of these, as JSON and Parquet have them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from etude.compiler.schema import ColumnSchema
from etude.runtime.reading.declarations import MOST_CLASSES, Declarations
from etude.runtime.reading.pictures import Form
from etude.runtime.sources import SourceError

# The error for the value with an index: what was expected, what came, and a hint.
Fail: TypeAlias = Callable[[int, str, str, "str | None"], SourceError]
DTYPES = {"float": "float32", "int": "int32", "bool": "bool"}
RANKS = {"bool": 0, "int": 1, "float": 2}


class Field(Struct, frozen=True):
    """A column of a file and what it becomes; `mask` says which items of a padded list there were."""

    name: str
    kind: str
    schema: ColumnSchema
    mask: ColumnSchema | None = None
    form: Form | None = None

    @property
    def schemas(self) -> tuple[ColumnSchema, ...]:
        return (self.schema,) if self.mask is None else (self.schema, self.mask)


def find_field(name: str, values: Sequence[Any], declared: Declarations, fail: Fail, form: Form | None) -> Field:
    """The type that a column's first values have, or that was declared. Raises what `fail` makes."""
    field = _find(name, values, declared, fail, form)
    return replace(field, schema=replace(field.schema, is_target=True)) if name in declared.targets else field


def _find(name: str, values: Sequence[Any], declared: Declarations, fail: Fail, form: Form | None) -> Field:
    kind = declared.types.get(name)
    classes = declared.classes_of(name)
    if kind == "image":
        assert form is not None, "the source has not looked at the pictures"
        return Field(name, "image", ColumnSchema(name, "tensor", "float32", form.shape), form=form)
    if kind == "labels":
        return _labels(name, values, classes, fail)
    found = [value_type(value) for value in values]
    scalar = next((type.kind for type in found if not type.shape), None)
    if kind == "label" or (name == "label" and kind is None and scalar in {"int", "text"}):
        return _label(name, values, classes, fail)
    if kind == "text" or (kind is None and scalar == "text"):
        return Field(name, "text", ColumnSchema(name, "text", "text"))
    return _numbers(name, values, found, kind, declared.lengths.get(name), fail)


class ValueType(Struct, frozen=True):
    """What a value is: the kind of its leaves, and its shape; `is_even` is false for lists of different lengths."""

    kind: str | None
    shape: tuple[int, ...] = ()
    is_even: bool = True


def value_type(value: Any) -> ValueType:
    """The type of one value.

    >>> value_type([[1, 2.5], [0, 1]])
    ValueType(kind='float', shape=(2, 2), is_even=True)
    """
    if not isinstance(value, list):
        return ValueType(_scalar_kind(value))
    inner = [value_type(item) for item in value]
    if not inner:
        return ValueType(None, (0,))
    is_even = all(type.is_even and type.shape == inner[0].shape for type in inner)
    return ValueType(
        _widest([type.kind for type in inner if type.kind is not None]), (len(value), *inner[0].shape), is_even
    )


def _scalar_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    return "float" if isinstance(value, float) else "text" if isinstance(value, str) else "other"


def _widest(kinds: Sequence[str]) -> str | None:
    """The kind that fits all: numbers widen, everything else must agree."""
    distinct = set(kinds)
    if distinct <= {"int", "float"} and distinct:
        return max(distinct, key=RANKS.__getitem__)
    return distinct.pop() if len(distinct) == 1 else ("other" if distinct else None)


def _numbers(
    name: str, values: Sequence[Any], found: Sequence[ValueType], kind: str | None, length: int | None, fail: Fail
) -> Field:
    """A column of numbers or truth values, one or a tensor of them a row."""
    first = next((type for type in found if type.kind is not None), found[0])
    if kind is None:
        kind = _widest([type.kind for type in found if type.kind is not None])
    if kind not in DTYPES:
        index = next(i for i, type in enumerate(found) if type.kind != first.kind or type.kind not in DTYPES)
        raise fail(index, _expected(first), shown(values[index]), _kind_hint(name, found[index]))
    uneven = next((i for i, type in enumerate(found) if not type.is_even), None)
    if uneven is not None:
        raise fail(uneven, "items of one length", shown(values[uneven]), None)
    if length is not None and any(type.shape for type in found):
        return _padded(name, values, found, DTYPES[kind], length, fail)
    other = next((i for i, type in enumerate(found) if type.shape != first.shape), None)
    if other is not None:
        hint = f"pad them: length = {{{name}: {max(type.shape[0] for type in found if type.shape)}}}"
        raise fail(other, f"{_size(first)} as in the first row", _size(found[other]), hint)
    return Field(name, kind, ColumnSchema(name, "tensor", DTYPES[kind], first.shape))


def _padded(name: str, values: Sequence[Any], found: Sequence[ValueType], dtype: str, length: int, fail: Fail) -> Field:
    """Lists of up to `length` items, each item of one shape."""
    item = next((type.shape[1:] for type in found if type.shape and type.kind is not None), ())
    for index, type in enumerate(found):
        if not type.shape or (type.kind is not None and type.shape[1:] != item):
            raise fail(index, f"a list of items of shape {list(item)}", shown(values[index]), None)
    schema = ColumnSchema(name, "tensor", dtype, (length, *item))
    return Field(name, "padded", schema, ColumnSchema(f"{name}_mask", "tensor", "bool", (length,)))


def _label(name: str, values: Sequence[Any], classes: Any, fail: Fail) -> Field:
    if isinstance(classes, list):
        return Field(name, "label", ColumnSchema(name, "label", "int32", (), len(classes), tuple(map(str, classes))))
    if all(isinstance(value, str) for value in values):
        names = tuple(sorted(set(values)))
        return Field(name, "label", ColumnSchema(name, "label", "int32", (), len(names), names))
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise fail(index, "a class that counts from 0, or its name", shown(value), None)
        if value >= MOST_CLASSES and classes is None:
            raise fail(index, f"a class below {MOST_CLASSES:,}", shown(value), None)
    count = classes if isinstance(classes, int) else max(values) + 1
    return Field(name, "label", ColumnSchema(name, "label", "int32", (), count))


def _labels(name: str, values: Sequence[Any], classes: Any, fail: Fail) -> Field:
    """Several classes a row: a float32 for each class, 1 where the row has it. It is a target."""
    kinds = (str, int) if classes is not None else (_kind_of_classes(values),)
    for index, value in enumerate(values):
        if not isinstance(value, list):
            raise fail(index, "a list of classes", shown(value), None)
        if any(type(item) not in kinds for item in value):
            raise fail(index, f"a list of {' or '.join(KINDS_OF_CLASSES[kind] for kind in kinds)}", shown(value), None)
    if isinstance(classes, list):
        names: tuple[str, ...] | None = tuple(map(str, classes))
    elif classes is None and str in kinds:
        names = tuple(sorted({item for value in values for item in value}))
    else:
        names = None
    count = len(names) if names is not None else classes or _count(values, fail)
    if not count:
        raise fail(0, "classes in some of the first rows", "none", f"declare them: classes = {{{name}: [..]}}")
    return Field(name, "labels", ColumnSchema(name, "tensor", "float32", (count,), None, names, True))


KINDS_OF_CLASSES = {str: "names of classes", int: "numbers of classes"}


def _kind_of_classes(values: Sequence[Any]) -> type:
    """Whether the classes in lists are names or numbers, by the first there is."""
    items = (item for value in values if isinstance(value, list) for item in value)
    return int if type(next(items, "")) is int else str


def _count(values: Sequence[Any], fail: Fail) -> int:
    """One more than the largest class in lists of numbers."""
    for index, value in enumerate(values):
        if any(not 0 <= item < MOST_CLASSES for item in value):
            raise fail(index, f"classes from 0 to {MOST_CLASSES - 1:,}", shown(value), None)
    return max((item for value in values for item in value), default=-1) + 1


def shown(value: Any) -> str:
    """A value as an error message quotes it."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + ".."


def _expected(type: ValueType) -> str:
    kind = {"bool": "true or false", "int": "a number", "float": "a number", "text": "a text"}.get(type.kind or "", "")
    kind = kind or "a number, a truth value, a text or a list of numbers"
    return f"{kind} as in the first row" if type.kind in {*RANKS, "text"} and not type.shape else kind


def _size(type: ValueType) -> str:
    return f"a list of shape {list(type.shape)}" if type.shape else "a single number"


def _kind_hint(name: str, type: ValueType) -> str | None:
    if type.kind == "text" and type.shape:
        return f'several classes a row: types = {{{name}: "labels"}}'
    return "leave the column out: columns = [..]" if type.kind == "other" else None


def field_schemas(fields: Mapping[str, Field]) -> tuple[ColumnSchema, ...]:
    """The columns that the fields become, masks after what they belong to."""
    return tuple(schema for field in fields.values() for schema in field.schemas)
