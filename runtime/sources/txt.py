"""Plain text: a row for each line, for each paragraph, or one for the whole file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from etude.compiler.schema import ColumnSchema, SourceSchema
from etude.runtime.sources import Chunk, DataFile, SourceError, existing_file, nearest

OPTIONS: Mapping[str, str] = {
    "rows": 'what is a row: "line" (when left out; empty ones do not count), "paragraph" or "file"'
}
UNITS = ("line", "paragraph", "file")
CHUNK_ROWS = 20_000


def schema(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """One column of text; only a file that is one row is counted. Raises `SourceError`."""
    file, unit = existing_file(uri, base), _unit(uri, options)
    if not file.path.stat().st_size:
        raise file.error("the file is empty", expected="at least one line of text", got="0 bytes")
    return SourceSchema((ColumnSchema("text", "text", "text"),), 1 if unit == "file" else None)


def fingerprint(uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
    """The hash of the file's bytes."""
    return hash_file(existing_file(uri, base).path)


def chunks(uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
    """Read all rows. Raises `SourceError` at the first line that is not UTF-8."""
    import numpy as np

    file = existing_file(uri, base)
    rows = {"line": _lines, "paragraph": _paragraphs, "file": _whole}[_unit(uri, options)](file)
    while piece := list(islice(rows, CHUNK_ROWS)):
        yield {"text": np.array(piece, dtype=object)}


def _unit(uri: str, options: Mapping[str, Any]) -> str:
    unit = str(options.get("rows", "line"))
    if unit not in UNITS:
        hint = nearest(unit, UNITS) or f"units: {', '.join(UNITS)}"
        raise SourceError(f'no unit of text is called "{unit}"', uri=uri, hint=hint, option="rows")
    return unit


def _decoded(file: DataFile) -> Iterator[str]:
    with file.path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise file.not_utf_8(error, number) from error
            yield text.removeprefix("\ufeff") if number == 1 else text


def _lines(file: DataFile) -> Iterator[str]:
    for line in _decoded(file):
        if text := line.rstrip("\r\n"):
            yield text


def _paragraphs(file: DataFile) -> Iterator[str]:
    lines: list[str] = []
    for line in _decoded(file):
        if line.strip():
            lines.append(line.rstrip("\r\n"))
        elif lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _whole(file: DataFile) -> Iterator[str]:
    yield "".join(_decoded(file))
