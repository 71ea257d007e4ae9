"""Archives of numpy arrays: each array is a column, its first dimension the rows."""

from __future__ import annotations

import array
import errno
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from etude.compiler.schema import ColumnSchema, SourceSchema
from etude.runtime.reading.arrayfiles import WRITE_AGAIN, Header, Rows, blocks, read_header
from etude.runtime.reading.declarations import check_classes_are_used, check_column, check_values, classes_of, listed
from etude.runtime.sources import Chunk, DataFile, SourceError, existing_file, nearest

if TYPE_CHECKING:
    import numpy as np

OPTIONS: Mapping[str, str] = {
    "label": 'the name of the label array, "label" when left out',
    "target": "the names of arrays that are to be predicted",
    "classes": "the classes of the label: a list of names, or their number",
}
CHUNK_BYTES = 8 << 20
CODES = {("i", 1): "b", ("i", 2): "h", ("i", 4): "i", ("i", 8): "q", ("u", 1): "B", ("u", 2): "H", ("u", 4): "I"}


def schema(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """Read the heads of all arrays, and the label array when its classes are not declared. Raises `SourceError`."""
    file = existing_file(uri, base)
    check_values(uri, options)
    with _archive(file) as archive:
        headers = {name: _header(file, archive, name) for name in _names(archive)}
        if not headers:
            raise file.error("the archive holds no arrays")
        label, classes = _label_name(file, headers, options), options.get("classes")
        labels = {label, *(classes if isinstance(classes, Mapping) else ())}
        rows = _row_count(file, headers)
        targets = listed(options.get("target", []))
        for name in targets:
            check_column(file, name, headers)
        for name in labels - {label}:
            check_column(file, str(name), headers, "classes")
        columns = [
            _label_schema(file, archive, name, header, options)
            if name in labels
            else _column_schema(file, name, header)
            for name, header in headers.items()
        ]
    check_classes_are_used(file, classes, columns)
    return SourceSchema(tuple(replace(each, is_target=each.name in targets) for each in columns), rows)


def fingerprint(uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
    """The hash of the file's bytes."""
    return hash_file(existing_file(uri, base).path)


def chunks(uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
    """Read the arrays side by side as the schema says: floats as float32, integers as int32, bytes of images to 1."""
    file = existing_file(uri, base)
    known = schema(uri, options, base)
    rows = known.rows or 0
    with _archive(file) as archive, ExitStack() as streams:
        arrays, row_bytes = {}, 0
        for column in known.columns:
            stream = streams.enter_context(archive.open(f"{column.name}.npy"))
            header = read_header(file, column.name, stream)
            arrays[column.name] = Rows(stream, header)
            row_bytes += header.row_bytes
        size = max(1, CHUNK_BYTES // max(1, row_bytes))
        for first in range(0, rows, size) if rows else (0,):
            count = min(size, rows - first)
            yield {c.name: _values(file, c, arrays[c.name].take(count), first) for c in known.columns}


@contextmanager
def _archive(file: DataFile) -> Iterator[zipfile.ZipFile]:
    """The open archive; whatever shows that it is broken becomes a `SourceError`.

    zipfile says NotImplementedError of a compression or version that it does not know, as damaged heads name them.
    """
    try:
        with zipfile.ZipFile(file.path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise  # the file system's word; a place that is none comes from a damaged directory
        raise file.error(f"not a complete archive of arrays ({error})", hint=WRITE_AGAIN) from error


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _header(file: DataFile, archive: zipfile.ZipFile, name: str) -> Header:
    with archive.open(f"{name}.npy") as stream:
        return read_header(file, name, stream)


def _label_name(file: DataFile, headers: Mapping[str, Header], options: Mapping[str, Any]) -> str | None:
    if "label" in options and options["label"] not in headers:
        hint = nearest(options["label"], headers) or f"arrays: {', '.join(headers)}"
        raise file.error(f'no array is called "{options["label"]}"', hint=hint, option="label")
    if "label" in options:
        return str(options["label"])
    header = headers.get("label")
    return "label" if header and len(header.shape) == 1 and header.kind in "iuU" else None


def _row_count(file: DataFile, headers: Mapping[str, Header]) -> int:
    first, *_ = headers
    for name, header in headers.items():
        if not header.shape:
            raise file.error(f'array "{name}" has no rows', hint="it is a single number")
        if header.shape[0] != headers[first].shape[0]:
            raise file.error(
                f'array "{name}" has another number of rows',
                column=name,
                expected=f'{headers[first].shape[0]} as "{first}"',
                got=str(header.shape[0]),
            )
    return headers[first].shape[0]


def _column_schema(file: DataFile, name: str, header: Header) -> ColumnSchema:
    shape = header.shape[1:]
    if header.kind == "U":
        if shape:
            raise file.error(f'array "{name}"', expected="one text a row", got=f"{shape}")
        return ColumnSchema(name, "text", "text")
    if name == "image" and len(shape) == 2:
        shape = (*shape, 1)
    dtype = {"f": "float32", "b": "bool"}.get(header.kind, "int32")
    if name == "image" and (header.kind, header.size) == ("u", 1):
        dtype = "float32"
    return ColumnSchema(name, "tensor", dtype, shape)


def _label_schema(
    file: DataFile, archive: zipfile.ZipFile, name: str, header: Header, options: Mapping[str, Any]
) -> ColumnSchema:
    classes = classes_of(options.get("classes"), name)
    if len(header.shape) != 1 or header.kind not in "iuU":
        got = f"{header.kind}{header.size}{list(header.shape)}"
        raise file.error(f'label "{name}"', expected="one integer or text a row", got=got)
    if isinstance(classes, list):
        return ColumnSchema(name, "label", "int32", (), len(classes), tuple(map(str, classes)))
    if header.kind == "U":
        names = tuple(sorted(set(_texts(file, archive, name))))
        return ColumnSchema(name, "label", "int32", (), len(names), names)
    count = classes if isinstance(classes, int) else _most(file, archive, name) + 1
    return ColumnSchema(name, "label", "int32", (), count)


def _most(file: DataFile, archive: zipfile.ZipFile, name: str) -> int:
    """The largest number of an array of integers, -1 of an empty one."""
    with archive.open(f"{name}.npy") as stream:
        header = read_header(file, name, stream)
        return max((_most_of(header, block) for block in blocks(stream, header)), default=-1)


def _most_of(header: Header, block: bytes) -> int:
    values: array.array[int] = array.array(CODES.get((header.kind, header.size), "Q"), block)
    if header.order == (">" if sys.byteorder == "little" else "<"):
        values.byteswap()
    return max(values)


def _texts(file: DataFile, archive: zipfile.ZipFile, name: str) -> Iterator[str]:
    with archive.open(f"{name}.npy") as stream:
        header = read_header(file, name, stream)
        encoding, width = "utf-32-be" if header.order == ">" else "utf-32-le", header.item_bytes
        for block in blocks(stream, header):
            try:
                yield from (
                    block[i : i + width].decode(encoding).rstrip("\0") for i in range(0, len(block), width or 1)
                )
            except UnicodeDecodeError as error:
                expected, got = "text", "code points that are no characters"
                raise file.error(f'array "{name}"', column=name, expected=expected, got=got) from error


def _values(file: DataFile, column: ColumnSchema, values: np.ndarray[Any, Any], first: int) -> np.ndarray[Any, Any]:
    """Rows of an array, from row `first` on, as their column's type."""
    import numpy as np

    if column.kind == "text":
        return values.astype(object)
    if column.class_names is not None and values.dtype.kind == "U":
        values = _class_numbers(file, column, values, first)
    if column.dtype == "float32":
        scaled = values / np.float32(255) if values.dtype == np.uint8 else values
        with np.errstate(over="ignore"):
            made = np.asarray(scaled, dtype=np.float32).reshape(len(values), *column.shape)
        too_large = np.flatnonzero(np.isinf(made.reshape(-1)) & ~np.isinf(values.reshape(-1)))
        if len(too_large):
            raise _wrong_number(file, column, values, too_large[0], first, "a number below 3.4e38")
        return made
    low, high = (0, (column.classes or 0) - 1) if column.kind == "label" else (-(2**31), 2**31 - 1)
    bad = np.flatnonzero((values < low) | (values > high))
    if len(bad):
        raise _wrong_number(file, column, values, bad[0], first, f"{low} to {high}")
    return values.astype(column.dtype)


def _wrong_number(
    file: DataFile, column: ColumnSchema, values: np.ndarray[Any, Any], place: int, first: int, expected: str
) -> SourceError:
    """A number that the column cannot hold, at a place among those of the rows from `first` on."""
    row = first + place // max(1, values[0].size)
    message = f'array "{column.name}", row {row}'
    return file.error(message, column=column.name, expected=expected, got=str(values.flat[place]))


def _class_numbers(
    file: DataFile, column: ColumnSchema, values: np.ndarray[Any, Any], first: int
) -> np.ndarray[Any, Any]:
    import numpy as np

    numbers = {name: position for position, name in enumerate(column.class_names or ())}
    for row, value in enumerate(values, first):
        if value not in numbers:
            raise file.error(
                f'label "{column.name}", row {row}',
                column=column.name,
                expected=f"one of {', '.join(numbers)}",
                got=f'"{value}"',
            )
    return np.array([numbers[value] for value in values], dtype=np.int32)
