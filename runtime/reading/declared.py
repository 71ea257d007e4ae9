"""JSON lines whose columns are declared: every row has exactly them, and every value fits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array
from etude.runtime.stages import StageError

Json = Any


def declared_rows(path: Path, schemas: Sequence[ColumnSchema]) -> dict[str, Array]:
    """The columns of a file. Raises `StageError` with the line that does not fit."""
    values: dict[str, list[Any]] = {schema.name: [] for schema in schemas}
    with path.open(encoding="utf-8", errors="strict") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                row = _row(path, number, line, values)
                for schema in schemas:
                    values[schema.name].append(_value(path, number, schema, row[schema.name]))
    return {schema.name: _column(schema, values[schema.name]) for schema in schemas}


def _row(path: Path, number: int, line: str, columns: Any) -> dict[str, Json]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise StageError(f"{path.name}:{number}: this is no JSON: {error}") from error
    if not isinstance(row, dict) or set(row) != set(columns):
        got = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise StageError(f"{path.name}:{number}: expected the columns {', '.join(columns)}, got {got}")
    return row


def _value(path: Path, number: int, schema: ColumnSchema, value: Json) -> Any:
    if schema.kind == "text":
        if isinstance(value, str):
            return value
    elif schema.kind == "label":
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < (schema.classes or 0):
            return value
    elif (found := _tensor(schema, value)) is not None:
        return found
    got = json.dumps(value)
    text = f'{path.name}:{number}: column "{schema.name}": expected {schema}, got {got[:80]}'
    raise StageError(text)


def _tensor(schema: ColumnSchema, value: Json) -> Array | None:
    """The numbers, or None where they are others, or not so many."""
    try:
        found = np.asarray(value)
    except ValueError:
        return None
    kinds = {"float32": "iuf", "int32": "iu", "bool": "b"}[schema.dtype]
    if found.shape != schema.shape or (found.size and found.dtype.kind not in kinds):
        return None
    if schema.dtype == "int32" and found.size and (found.min() < -(2**31) or found.max() >= 2**31):
        return None
    return found.astype(schema.dtype)


def _column(schema: ColumnSchema, values: list[Any]) -> Array:
    if schema.kind == "text":
        return np.array(values, dtype=object)
    dtype = "int32" if schema.kind == "label" else schema.dtype
    return np.asarray(values, dtype=dtype).reshape(len(values), *schema.shape)
