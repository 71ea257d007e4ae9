"""From values of a column to an array of the column's type, each value checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from etude.runtime.arrays import Array
from etude.runtime.reading.fields import Fail, Field, ValueType, shown, value_type

KINDS = {"float32": "iuf", "int32": "iu", "bool": "b"}
NAMES = {"float32": "number", "int32": "integer", "bool": "truth value"}
INT32 = (-(2**31), 2**31 - 1)


def convert(field: Field, values: Sequence[Any], fail: Fail) -> dict[str, Array]:
    """The arrays of a field, [values, ...]; raises what `fail` makes at the first value of another type."""
    schema = field.schema
    match field.kind:
        case "text":
            return {field.name: _texts(values, fail)}
        case "label":
            return {field.name: _classes(field, values, fail)}
        case "labels":
            return {field.name: _several(field, values, fail)}
        case "padded":
            return _padded(field, values, fail)
    return {field.name: numbers(values, schema.dtype, schema.shape, fail)}


def numbers(values: Sequence[Any], dtype: str, shape: tuple[int, ...], fail: Fail) -> Array:
    """Numbers or truth values, one or a tensor of them a value."""
    found = _as_array(values, shape)
    if found is None or found.dtype.kind not in KINDS[dtype] or found.shape[1:] != shape:
        if math.prod(shape) or found is None:
            raise _first_wrong(values, dtype, shape, fail)
        return np.empty((len(values), *shape), dtype)
    return in_range(found, dtype, fail)


def in_range(found: Array, dtype: str, fail: Fail) -> Array:
    """Numbers as the column's type; raises what `fail` makes where one does not fit."""
    if dtype == "int32":
        wrong = (found < INT32[0]) | (found > INT32[1])
        made = found.astype(dtype)
    else:
        with np.errstate(over="ignore"):
            made = found.astype(dtype)
        wrong = np.isinf(made) & ~np.isinf(found) if dtype == "float32" else np.zeros(len(made), bool)
    if wrong.any():
        index = int(np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))[0])
        expected = "an integer of 32 bits" if dtype == "int32" else "a number below 3.4e38"
        raise fail(index, expected, shown(found[index].tolist()), None)
    return made


def _as_array(values: Sequence[Any], shape: tuple[int, ...]) -> Array | None:
    if not shape and bool in (types := set(map(type, values))) and len(types) > 1:
        return None  # numpy takes true for 1
    try:
        return np.array(values)
    except (ValueError, OverflowError):
        return None


def _first_wrong(values: Sequence[Any], dtype: str, shape: tuple[int, ...], fail: Fail) -> Exception:
    kinds = {"float32": {"int", "float"}, "int32": {"int"}, "bool": {"bool"}}[dtype]
    expected = f"{NAMES[dtype]}s of shape {list(shape)}" if shape else f"one {NAMES[dtype]}"
    for index, value in enumerate(values):
        type = value_type(value)
        if type.kind not in kinds or type.shape != shape or not type.is_even:
            return fail(index, expected, shown(value), _hint(type, dtype, shape))
    index = next((i for i, value in enumerate(values) if np.array(value).dtype.kind == "O"), 0)
    return fail(index, "numbers that fit 32 bits", shown(values[index]), None)


def _hint(type: ValueType, dtype: str, shape: tuple[int, ...]) -> str | None:
    """What may be meant by a value of another type."""
    if len(shape) == len(type.shape) and shape[:1] != type.shape[:1]:
        return f"lists of varying length are filled up: length = {{..: {max(shape[0], type.shape[0])}}}"
    return 'declare the type: types = {..: "float"}' if type.kind == "float" and dtype == "int32" else None


def _texts(values: Sequence[Any], fail: Fail) -> Array:
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise fail(index, "a text", shown(value), None)
    _check_characters(values, fail)
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def _check_characters(values: Sequence[str], fail: Fail) -> None:
    """Refuse halves of characters, which JSON can write and UTF-8 cannot."""
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        for index, value in enumerate(values):
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise fail(index, "a text", f"half of a character in {ascii(value)[:60]}", None) from None
        raise


def _classes(field: Field, values: Sequence[Any], fail: Fail) -> Array:
    read = class_reader(field)
    found = [read(value) for value in values]
    for index, number in enumerate(found):
        if number is None:
            raise fail(index, expected_classes(field), shown(values[index]), CLASSES_HINT)
    return np.array(found, dtype=np.int32)


def _several(field: Field, values: Sequence[Any], fail: Fail) -> Array:
    read = class_reader(field)
    made = np.zeros((len(values), *field.schema.shape), np.float32)
    for index, value in enumerate(values):
        if not isinstance(value, list):
            raise fail(index, "a list of classes", shown(value), None)
        for item in value:
            number = read(item)
            if number is None:
                raise fail(index, expected_classes(field), shown(item), CLASSES_HINT)
            made[index, number] = 1
    return made


CLASSES_HINT = "the classes were taken from the first rows; declare all with classes = .."


def class_reader(field: Field) -> Any:
    """A function from a value to its class's number, None when it is no class."""
    names, count = field.schema.class_names, field.schema.classes or field.schema.shape[0]
    known: Mapping[Any, int] = {name: i for i, name in enumerate(names)} if names else {}

    def read(value: Any) -> int | None:
        if isinstance(value, str):
            return known.get(value)
        is_class = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count
        return value if is_class else None

    return read


def expected_classes(field: Field) -> str:
    """The classes as an error message lists them."""
    names, count = field.schema.class_names, field.schema.classes or field.schema.shape[0]
    if names is None:
        return f"a class from 0 to {count - 1}"
    return f"one of {', '.join(names[:8])}" + (", .." if len(names) > 8 else "")


def _padded(field: Field, values: Sequence[Any], fail: Fail) -> dict[str, Array]:
    """Lists filled up with zeros, and a mask of the items that there were."""
    assert field.mask is not None
    length, *item = field.schema.shape
    for index, value in enumerate(values):
        if not isinstance(value, list):
            raise fail(index, "a list", shown(value), None)
        if len(value) > length:
            raise fail(index, f"at most {length} items", str(len(value)), f"length = {{{field.name}: {len(value)}}}")
    counts = np.array([len(value) for value in values], dtype=np.int64)
    rows = np.repeat(np.arange(len(values)), counts)
    flat = [part for value in values for part in value]

    def fail_at_row(index: int, expected: str, got: str, hint: str | None) -> Any:
        return fail(int(rows[index]), f"items that are {expected}", got, hint)

    mask = np.arange(length) < counts[:, np.newaxis]
    made = np.zeros((len(values), *field.schema.shape), field.schema.dtype)
    if flat:
        made[mask] = numbers(flat, field.schema.dtype, tuple(item), fail_at_row)
    return {field.name: made, field.mask.name: mask}
