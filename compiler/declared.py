"""Columns that are declared as texts: `"float"`, `"label(10)"`, `"float32[8, 8]"`."""

from __future__ import annotations

import re
from typing import Any

from etude.compiler.schema import ColumnSchema
from etude.compiler.scopes import did_you_mean

WORDS = {"float": "float32", "int": "int32", "bool": "bool", "float32": "float32", "int32": "int32"}
PATTERN = re.compile(r"\s*([a-z]+[0-9]*)\s*(?:\[([0-9,\s]*)\]|\(([0-9]+)\))?\s*")


class ColumnTextError(ValueError):
    """A text that says no type of a column."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def declared_column(name: str, text: Any) -> ColumnSchema:
    """The column that a text declares. Raises ColumnTextError.

    >>> str(declared_column("x", "float[8, 8]")), str(declared_column("y", "label(3)"))
    ('float32[8, 8]', 'label(3)')
    """
    match = PATTERN.fullmatch(text) if isinstance(text, str) else None
    known = 'write "float", "int", "bool", "text", "label(10)" or "float32[8, 8]"'
    if match is None:
        raise ColumnTextError(f"'{text}' is no type of the column '{name}'", known)
    word, shape, classes = match.groups()
    if word == "text" and shape is None and classes is None:
        return ColumnSchema(name, "text", "text")
    if word == "label" and classes is not None and int(classes) > 0:
        return ColumnSchema(name, "label", "int32", (), int(classes))
    if word not in WORDS or classes is not None:
        hint = did_you_mean(word, [*WORDS, "text", "label"]) if word not in {*WORDS, "label", "text"} else None
        raise ColumnTextError(f"'{text}' is no type of the column '{name}'", hint or known)
    sizes = tuple(int(part) for part in (shape or "").split(",") if part.strip())
    return ColumnSchema(name, "tensor", WORDS[word], sizes)


def kind_json(column: ColumnSchema) -> dict[str, Any]:
    """What kind of column it is, for the spec of a stage."""
    return {"kind": column.kind, **({"classes": column.classes} if column.kind == "label" else {})}
