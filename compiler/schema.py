"""What the compiler knows of a data source before any data is read: columns, types, sizes. Standard library only."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

ColumnKind: TypeAlias = Literal["tensor", "label", "text"]
Role: TypeAlias = Literal["train", "valid", "test", "unlabelled", "external"]


class Vocabulary(Struct, frozen=True):
    """What the tokens of a column are: numbers below `size`, made by the tokenizer `name`.

    `key` tells tokenizers apart; it is empty for numbers that no tokenizer made.
    """

    size: int
    name: str = ""
    key: str = ""

    def __str__(self) -> str:
        return f"below {self.size}" + (f" of {self.name}" if self.name else "")


class ColumnSchema(Struct, frozen=True):
    """One column. `shape` is of one row; a label is an int32 scalar below `classes`; a text has dtype "text".

    Labels are targets, and so is any column with `is_target`. A tensor with `class_names` has one number per class. A
    column `aside` says how a training takes the row: it is neither input nor target, but a function can ask for it.
    With a `vocabulary` it holds tokens: as an int32 tensor, or as a text, where rows have as many as they have.
    """

    name: str
    kind: ColumnKind
    dtype: str
    shape: tuple[int, ...] = ()
    classes: int | None = None
    class_names: tuple[str, ...] | None = None
    is_target: bool = False
    vocabulary: Vocabulary | None = None
    aside: bool = False

    def __str__(self) -> str:
        if self.kind == "label":
            return f"label({self.classes})"
        if self.vocabulary is not None and self.kind == "text":
            return f"tokens {self.vocabulary}"
        text = "text" if self.kind == "text" else f"{self.dtype}[{', '.join(map(str, self.shape))}]"
        return text if self.vocabulary is None else f"{text} {self.vocabulary}"


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
