"""What a recipe declares about the columns of a file: types, label, targets, classes, lengths."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from etude.runtime.sources import DataFile, nearest

COLUMN_OPTIONS: Mapping[str, str] = {
    "columns": "the columns to read, all when left out",
    "types": 'a record of column types: "float", "int", "bool", "text", "label", "labels" (several a row) or "image"',
    "label": 'the name of the label column, "label" when left out',
    "target": "the names of columns that are to be predicted: boxes, masks, numbers",
    "classes": "the classes of the label: a list of names, or their number; or a record of these for several columns",
    "length": "a record of lengths, or one, that lists of varying length are padded to, with a column NAME_mask",
}
TYPES = ("float", "int", "bool", "text", "label", "labels", "image")


@dataclass(frozen=True, slots=True)
class Declarations:
    """The options of one file, checked against its columns."""

    names: tuple[str, ...]
    types: Mapping[str, str]
    targets: frozenset[str]
    lengths: Mapping[str, int]
    classes: Any

    def classes_of(self, name: str) -> Any:
        """The declared classes of a column: a list of names, a number or None."""
        return self.classes.get(name) if isinstance(self.classes, Mapping) else self.classes


def declarations(file: DataFile, names: Collection[str], options: Mapping[str, Any]) -> Declarations:
    """Check the options against the names of the file's columns. Raises `SourceError`."""
    kept = listed(options.get("columns", list(names)))
    types = dict(options.get("types") or {})
    if "label" in options:
        types[options["label"]] = "label"
    targets, lengths, classes = listed(options.get("target", [])), options.get("length", {}), options.get("classes")
    if isinstance(lengths, int):
        lengths = dict.fromkeys(kept, lengths)
    by_column = list(classes) if isinstance(classes, Mapping) else []
    for name in [*kept, *types, *targets, *lengths, *by_column]:
        check_column(file, name, names)
    for name, kind in types.items():
        if kind not in TYPES:
            hint = nearest(str(kind), TYPES) or f"types: {', '.join(TYPES)}"
            raise file.error(f'no type is called "{kind}"', column=name, hint=hint)
    return Declarations(tuple(kept), types, frozenset(targets), lengths, classes)


def check_column(file: DataFile, name: str, names: Collection[str]) -> None:
    """Refuse a name that no column has."""
    if name not in names:
        hint = nearest(name, names) or f"columns: {', '.join(names)}"
        raise file.error(f'no column is called "{name}"', column=name, hint=hint)


def listed(value: Any) -> list[str]:
    """One name or several, as a list."""
    return [value] if isinstance(value, str) else list(value)
