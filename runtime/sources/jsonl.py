"""Lines of JSON: every line an object with the same keys. Lists become tensors, classes or padded boxes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from etude.compiler.schema import SourceSchema
from etude.runtime.reading import tables
from etude.runtime.reading.fields import Fail, Field
from etude.runtime.sources import Chunk, DataFile, SourceError, existing_file, nearest

OPTIONS: Mapping[str, str] = tables.OPTIONS
CHUNK_BYTES = 4 << 20

Row = tuple[int, int, dict[str, Any]]  # line from 1, bytes, values


def schema(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """Sniff the first 1,000 lines. Raises `SourceError` with file and line."""
    file = existing_file(uri, base)
    sample = list(islice(read_rows(file), tables.SNIFFED_ROWS + 1))
    is_whole = len(sample) <= tables.SNIFFED_ROWS
    return tables.table_schema(_fields(file, sample[: tables.SNIFFED_ROWS], options), len(sample) if is_whole else None)


def fingerprint(uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
    """The hash of the file's bytes."""
    return hash_file(existing_file(uri, base).path)


def chunks(uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
    """Read all rows as the schema says. Raises `SourceError` at the first value that is of another type."""
    file = existing_file(uri, base)
    rows = read_rows(file)
    sample = list(islice(rows, tables.SNIFFED_ROWS))
    fields = _fields(file, sample, options)
    for piece in _pieces(_chained(sample, rows)):
        values = {name: [row[name] for _, _, row in piece] for name in fields}
        yield tables.convert_rows(file, fields, values, _failures(file, piece))


def read_rows(file: DataFile) -> Iterator[Row]:
    """Every row, with its line. Raises `SourceError` where a line is no object, or has other keys than the first."""
    keys: dict[str, Any] | None = None
    with file.path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row = _parse(file, number, line)
            keys = row if keys is None else keys
            if row.keys() != keys.keys():
                raise _other_keys(file, number, keys, row)
            yield number, len(line), row
    if keys is None:
        raise file.error("the file has no rows")


def _parse(file: DataFile, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise file.not_utf_8(error, number) from error
    except ValueError as error:
        expected, got = 'an object such as {"x": 1}', _shown(line)
        hint = None if line.endswith(b"\n") else "the file ends here: was it cut off while copying?"
        raise file.error(f"broken JSON ({error})", line=number, expected=expected, got=got, hint=hint) from error
    if not isinstance(row, dict):
        raise file.error("not a row", line=number, expected='an object such as {"x": 1}', got=_shown(line))
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace").strip()
    return text if len(text) <= 60 else text[:57] + ".."


def _other_keys(file: DataFile, number: int, keys: dict[str, Any], row: dict[str, Any]) -> SourceError:
    missing = [key for key in keys if key not in row]
    name = missing[0] if missing else next(key for key in row if key not in keys)
    got = "no such key" if missing else f'"{name}" too'
    expected = f'the key "{name}" as in the first row' if missing else f"the keys of the first row: {', '.join(keys)}"
    return file.error(
        "a row with other keys",
        line=number,
        column=name,
        expected=expected,
        got=got,
        hint=nearest(name, row if missing else keys),
    )


def _fields(file: DataFile, sample: list[Row], options: Mapping[str, Any]) -> dict[str, Field]:
    values = {name: [row[name] for _, _, row in sample] for name in sample[0][2]}
    return tables.find_fields(file, values, options, _failures(file, sample))


def _failures(file: DataFile, rows: list[Row]) -> tables.Failures:
    def of_column(name: str) -> Fail:
        def fail(index: int, expected: str, got: str, hint: str | None) -> SourceError:
            message, line = f'column "{name}"', rows[index][0]
            return file.error(message, line=line, column=name, expected=expected, got=got, hint=hint)

        return fail

    return of_column


def _chained(sample: list[Row], rest: Iterator[Row]) -> Iterator[Row]:
    yield from sample
    yield from rest


def _pieces(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows in lists of about 4 MiB of text."""
    piece: list[Row] = []
    size = 0
    for row in rows:
        piece.append(row)
        size += row[1]
        if size >= CHUNK_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
