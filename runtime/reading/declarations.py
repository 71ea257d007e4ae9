"""What a recipe declares about the columns of a file: types, label, targets, classes, lengths."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etude.compiler.schema import ColumnSchema
from etude.runtime.sources import DataFile, SourceError, nearest

COLUMN_OPTIONS: Mapping[str, str] = {
    "columns": "the columns to read, all when left out",
    "types": 'a record of column types: "float", "int", "bool", "text", "label", "labels" (several a row) or "image"',
    "label": 'the name of the label column, "label" when left out',
    "target": "the names of columns that are to be predicted: boxes, masks, numbers",
    "classes": "the classes of the label: a list of names, or their number; or a record of these for several columns",
    "length": "a record of lengths, or one, that lists of varying length are padded to, with a column NAME_mask",
}
MOST_CLASSES = 10_000_000  # of a label whose classes are not declared: a larger number is an identity, not a class
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
        return classes_of(self.classes, name)


def check_values(uri: str, options: Mapping[str, Any]) -> None:
    """Refuse values of options that are of another kind. Raises `SourceError`."""
    for name, (expected, fits) in KINDS.items():
        if name in options and not fits(options[name]):
            got = json.dumps(options[name], default=str)
            raise SourceError(f'the option "{name}"', uri=uri, expected=expected, got=got, option=name)


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _are_names(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and bool(value) and all(map(_is_name, value)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def _are_classes(value: Any) -> bool:
    """A number of classes, or their names, no two equal."""
    if isinstance(value, list):
        names = list(map(str, value))
        return bool(value) and len({*names}) == len(names) and all(isinstance(each, str | int) for each in value)
    return _is_number(value)


def _record_of(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(test, value.values()))


def _either(*tests: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: any(test(value) for test in tests)


CLASSES = "a number of classes, a list of their names, or a record of these by column"
KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "columns": ("names of columns", _are_names),
    "target": ("names of columns", _are_names),
    "label": ("the name of a column", _is_name),
    "types": ('a record of types, such as {x: "float"}', _record_of(_is_name)),
    "length": ("a length, or a record of them by column", _either(_is_number, _record_of(_is_number))),
    "classes": (CLASSES, _either(_are_classes, _record_of(_are_classes))),
    "delimiter": ("one character", lambda value: isinstance(value, str) and len(value) == 1 and value not in '\r\n"'),
}


def declarations(file: DataFile, names: Collection[str], options: Mapping[str, Any]) -> Declarations:
    """Check the options against the names of the file's columns. Raises `SourceError`."""
    check_values(file.uri, options)
    kept = listed(options.get("columns", list(names)))
    types = dict(options.get("types") or {})
    if "label" in options:
        types[options["label"]] = "label"
    targets, lengths, classes = listed(options.get("target", [])), options.get("length", {}), options.get("classes")
    if isinstance(lengths, int):
        lengths = dict.fromkeys(kept, lengths)
    by_column = list(classes) if isinstance(classes, Mapping) else []
    label = [options["label"]] if "label" in options else []
    named = {"columns": kept, "label": label, "types": types, "target": targets, "length": lengths}
    for option, given in {**named, "classes": by_column}.items():
        for name in given:
            check_column(file, name, names, option)
    for name, kind in types.items():
        if kind not in TYPES:
            hint = nearest(str(kind), TYPES) or f"types: {', '.join(TYPES)}"
            raise file.error(f'no type is called "{kind}"', column=name, hint=hint, option="types")
    types = with_classes(file, types, classes)
    return Declarations(tuple(kept), types, frozenset(targets), lengths, classes)


def classes_of(classes: Any, name: str) -> Any:
    """What is declared of the classes of a column: a list of names, a number or None."""
    return classes.get(name) if isinstance(classes, Mapping) else classes


def with_classes(file: DataFile, types: Mapping[str, str], classes: Any) -> dict[str, str]:
    """Declared types, and a label for each column whose classes are declared. Raises `SourceError`."""
    found = dict(types)
    for name in classes if isinstance(classes, Mapping) else ():
        kind = found.setdefault(name, "label")
        if kind not in {"label", "labels"}:
            text = f'classes are declared of the column "{name}", but its type as "{kind}"'
            raise file.error(text, column=name, hint=f'leave its type out, or write "{name}": "label"', option="types")
    return found


def check_classes_are_used(file: DataFile, classes: Any, columns: Sequence[ColumnSchema]) -> None:
    """Refuse classes where no column has any. Raises `SourceError`."""
    is_used = isinstance(classes, Mapping) or any(each.kind == "label" or each.class_names for each in columns)
    if classes is not None and not is_used:
        names = [column.name for column in columns]
        hint = f'say of which: label = "{names[-1]}", or classes = {{{names[-1]}: ..}}'
        raise file.error(f"no column is the label, of {', '.join(names)}", hint=hint, option="classes")


def check_column(file: DataFile, name: str, names: Collection[str], option: str = "target") -> None:
    """Refuse a name that no column has."""
    if name not in names:
        hint = nearest(name, names) or f"columns: {', '.join(names)}"
        raise file.error(f'no column is called "{name}"', column=name, hint=hint, option=option)


def listed(value: Any) -> list[str]:
    """One name or several, as a list."""
    return [value] if isinstance(value, str) else list(value)
