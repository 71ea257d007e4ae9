"""Comma separated files with a header. Types are declared or sniffed, and enforced to the last row."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec.structs import replace

from etude.compiler.schema import ColumnSchema, SourceSchema
from etude.runtime.reading.declarations import (
    MOST_CLASSES,
    check_classes_are_used,
    check_column,
    check_values,
    classes_of,
    listed,
    with_classes,
)
from etude.runtime.sources import Chunk, DataFile, SourceError, existing_file, extension, nearest

if TYPE_CHECKING:
    import numpy as np

OPTIONS: Mapping[str, str] = {
    "types": 'a record of column types: "float", "int", "bool", "text" or "label"',
    "label": 'the name of the label column, "label" when left out',
    "target": "the names of columns that are to be predicted",
    "classes": "the classes of the label: a list of names, or their number",
    "delimiter": "what separates the cells; when left out a comma, in a .tsv a tab",
}
SNIFFED_ROWS = 1000
ODD_SHARE = 10  # one cell in ten, or fewer, that is no number is taken for a mistake
CHUNK_ROWS = 20_000
TYPES = ("float", "int", "bool", "text", "label")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
INTEGER = re.compile(r"[+-]?\d+")
TRUTH = {"true": True, "false": False}

Row: TypeAlias = tuple[int, list[str]]
Cell: TypeAlias = tuple[int, str]


def schema(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """Sniff the header and the first 1,000 rows. Raises `SourceError` with file and line."""
    file = existing_file(uri, base)
    check_values(uri, options)
    rows = read_rows(file, options)
    header = next(rows)[1]
    sample = list(islice(rows, SNIFFED_ROWS + 1))
    if not sample:
        raise file.error("the file has a header and no rows")
    declared = declared_types(file, header, options)
    targets = listed(options.get("target", []))
    classes = options.get("classes")
    for name in targets:
        check_column(file, name, header)
    for name in classes if isinstance(classes, Mapping) else ():
        check_column(file, name, header, "classes")
    columns = []
    for index, name in enumerate(header):
        cells = [(line, row[index].strip()) for line, row in sample[:SNIFFED_ROWS]]
        found = column_schema(file, name, cells, declared.get(name), options)
        columns.append(replace(found, is_target=name in targets))
    check_classes_are_used(file, classes, columns)
    return SourceSchema(tuple(columns), len(sample) if len(sample) <= SNIFFED_ROWS else None)


def fingerprint(uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
    """The hash of the file's bytes."""
    return hash_file(existing_file(uri, base).path)


def chunks(uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
    """Read all rows as the schema says. Raises `SourceError` at the first cell that is of another type."""
    file = existing_file(uri, base)
    columns = schema(uri, options, base).columns
    rows = read_rows(file, options)
    next(rows)
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield {column.name: _convert(file, column, index, chunk) for index, column in enumerate(columns)}


def read_rows(file: DataFile, options: Mapping[str, Any]) -> Iterator[Row]:
    """The header, then every row with the line it ends on (from 1). Raises `SourceError` where the file is broken."""
    line, delimiter = 0, "\t" if extension(file.path.name) == "tsv" else ","
    try:
        with file.path.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=options.get("delimiter", delimiter), strict=True)
            width = 0
            for cells in reader:
                line = reader.line_num
                if not cells:
                    continue
                if not width:
                    width = len(cells)
                    _check_header(file, line, cells)
                elif len(cells) != width:
                    raise file.error(
                        "a row of another length",
                        line=line,
                        expected=f"{width} cells as in the header",
                        got=str(len(cells)),
                        hint="quote cells that hold the delimiter",
                    )
                yield line, cells
    except csv.Error as error:
        raise file.error(f"broken CSV: {error}", line=line + 1) from error
    except UnicodeDecodeError as error:
        raise file.not_utf_8(error, _undecodable_line(file.path)) from error
    if not line:
        raise file.error("the file is empty", hint="the first line names the columns")


def declared_types(file: DataFile, header: list[str], options: Mapping[str, Any]) -> dict[str, str]:
    """The types of `types =` and `label =`, checked against the header."""
    declared = dict(options.get("types") or {})
    if "label" in options:
        declared[options["label"]] = "label"
    for name, kind in declared.items():
        if name not in header:
            hint = nearest(name, header) or f"columns: {', '.join(header)}"
            option = "label" if name == options.get("label") else "types"
            raise file.error(f'no column is called "{name}"', line=1, hint=hint, option=option)
        if kind not in TYPES:
            hint = nearest(str(kind), TYPES) or f"types: {', '.join(TYPES)}"
            raise file.error(f'no type is called "{kind}"', column=name, hint=hint, option="types")
    return with_classes(file, declared, options.get("classes"))


def column_schema(
    file: DataFile, name: str, cells: list[Cell], declared: str | None, options: Mapping[str, Any]
) -> ColumnSchema:
    """The type of one column from its first cells, or as it was declared."""
    sniffed = sniff([cell for _, cell in cells])
    if declared is None and sniffed == "text":
        _refuse_odd_cell(file, name, cells)
    kind = declared or sniffed
    if kind == "label" or (name == "label" and not declared and sniffed in {"int", "text"}):
        return _label_schema(file, name, cells, sniffed, classes_of(options.get("classes"), name))
    if kind == "text":
        return ColumnSchema(name, "text", "text")
    return ColumnSchema(name, "tensor", {"float": "float32", "int": "int32", "bool": "bool"}[kind])


def _refuse_odd_cell(file: DataFile, name: str, cells: list[Cell]) -> None:
    """Refuse a column of numbers in which few cells are none: a broken row more likely than a text."""
    odd = [(line, cell) for line, cell in cells if not NUMBER.fullmatch(cell)]
    if len(cells) >= 10 and len(odd) * ODD_SHARE <= len(cells):
        line, cell = odd[0]
        got = f'"{cell}"' if cell else "an empty cell"
        hint = f'mend the row, or declare the type: types = {{{name}: "text"}}'
        expected = f"a number, as in {len(cells) - len(odd):,} of the first {len(cells):,} rows"
        raise file.error(f'column "{name}"', line=line, column=name, expected=expected, got=got, hint=hint)


def sniff(cells: list[str]) -> str:
    """The narrowest type that all cells have.

    >>> sniff(["1", "2"]), sniff(["1", "2.5"]), sniff(["true"]), sniff(["1", "a"])
    ('int', 'float', 'bool', 'text')
    """
    if all(INTEGER.fullmatch(cell.strip()) for cell in cells):
        return "int"
    if all(NUMBER.fullmatch(cell.strip()) for cell in cells):
        return "float"
    return "bool" if all(cell.strip().lower() in TRUTH for cell in cells) else "text"


def _label_schema(file: DataFile, name: str, cells: list[Cell], sniffed: str, classes: Any) -> ColumnSchema:
    if isinstance(classes, list):
        return ColumnSchema(name, "label", "int32", (), len(classes), tuple(map(str, classes)))
    if sniffed != "int":
        names = tuple(sorted({cell for _, cell in cells}))
        return ColumnSchema(name, "label", "int32", (), len(names), names)
    line, lowest = min(((line, int(cell)) for line, cell in cells), key=lambda item: item[1])
    if lowest < 0:
        hint = f'declare it as text-like classes: classes = ["{lowest}", ..]'
        expected = "classes that count from 0"
        raise file.error(f'label "{name}"', line=line, column=name, expected=expected, got=str(lowest), hint=hint)
    line, highest = max(((line, int(cell)) for line, cell in cells), key=lambda item: item[1])
    if highest >= MOST_CLASSES and classes is None:
        expected = f"classes below {MOST_CLASSES:,}"
        raise file.error(f'label "{name}"', line=line, column=name, expected=expected, got=str(highest))
    count = classes if isinstance(classes, int) else highest + 1
    return ColumnSchema(name, "label", "int32", (), count)


def _check_header(file: DataFile, line: int, header: list[str]) -> None:
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise file.error(f'two columns are called "{repeated[0]}"', line=line)
    if "" in header:
        raise file.error(f"column {header.index('') + 1} has no name", line=line)


def _undecodable_line(path: Path) -> int | None:
    """The first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None


def _convert(file: DataFile, column: ColumnSchema, index: int, chunk: list[Row]) -> np.ndarray[Any, Any]:
    """One column of a chunk as an array."""
    import numpy as np

    read = _reader(column)
    values = []
    for line, cells in chunk:
        value = read(cells[index] if column.kind == "text" else cells[index].strip())
        if value is None:
            raise _cell_error(file, column, line, cells[index])
        values.append(value)
    return np.array(values, dtype=object if column.kind == "text" else column.dtype)


def _reader(column: ColumnSchema) -> Callable[[str], Any]:
    """A function from a cell to its value, None when it is of another type."""
    if column.kind == "text":
        return str
    if column.class_names is not None:
        numbers = {str(position): position for position in range(len(column.class_names))}
        return {**numbers, **{name: position for position, name in enumerate(column.class_names)}}.get
    if column.kind == "label":
        return lambda cell: _integer(cell, 0, (column.classes or 0) - 1)
    return {"float32": _float, "int32": lambda cell: _integer(cell, -(2**31), 2**31 - 1), "bool": _truth}[column.dtype]


def _float(cell: str) -> float | None:
    value = float(cell) if NUMBER.fullmatch(cell) else None
    return value if value is not None and abs(value) < 3.4028236e38 else None


def _integer(cell: str, low: int, high: int) -> int | None:
    value = int(cell) if INTEGER.fullmatch(cell) else None
    return value if value is not None and low <= value <= high else None


def _truth(cell: str) -> bool | None:
    return TRUTH.get(cell.lower())


def _cell_error(file: DataFile, column: ColumnSchema, line: int, cell: str) -> SourceError:
    expected = "true or false" if column.dtype == "bool" else column.dtype
    hint = f'mend the row, or declare the type: types = {{"{column.name}": "text"}}'
    if column.kind == "label":
        names = column.class_names
        listed = ", ".join((names or ())[:8]) + (", .." if names and len(names) > 8 else "")
        expected = f"one of {listed}" if names else f"a class from 0 to {(column.classes or 0) - 1}"
        hint = f"the classes were taken from the first {SNIFFED_ROWS:,} rows; declare all with classes = .."
    got = f'"{cell}"' if cell.strip() else "an empty cell"
    return file.error(f'column "{column.name}"', line=line, column=column.name, expected=expected, got=got, hint=hint)
