"""What the compiler knows of a data source before any data is read: columns, types, sizes. Standard library only."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

ColumnKind: TypeAlias = Literal["tensor", "label", "text"]
Role: TypeAlias = Literal["train", "valid", "test", "unlabelled", "external"]


class ColumnSchema(Struct, frozen=True):
    """One column. `shape` is of one row; a label is an int32 scalar below `classes`; a text has dtype "text".

    Labels are targets, and so is any column with `is_target`. A tensor with `class_names` has one number per class.
    """

    name: str
    kind: ColumnKind
    dtype: str
    shape: tuple[int, ...] = ()
    classes: int | None = None
    class_names: tuple[str, ...] | None = None
    is_target: bool = False

    def __str__(self) -> str:
        if self.kind == "label":
            return f"label({self.classes})"
        return "text" if self.kind == "text" else f"{self.dtype}[{', '.join(map(str, self.shape))}]"


class SourceSchema(Struct, frozen=True):
    """What `load` gives: one dataset, or with `splits` a record of datasets that share these columns.

    `rows` is None where only reading all the data would tell.
    """

    columns: tuple[ColumnSchema, ...]
    rows: int | None
    splits: tuple[str, ...] = ()
    role: Role = "train"

    def column(self, name: str) -> ColumnSchema | None:
        """The column called `name`, or None."""
        return next((column for column in self.columns if column.name == name), None)
