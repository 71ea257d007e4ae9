"""What the running Python knows of itself: `python:stdlib`, the sources of its standard library."""

from __future__ import annotations

import ast
import hashlib
import os
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from etude.compiler.schema import ColumnSchema, SourceSchema
from etude.runtime.sources import Chunk, SourceError, locator, nearest

OPTIONS: Mapping[str, str] = {
    "rows": 'what is a row: "file" (when left out), or "function": those with a docstring, in columns text and doc',
    "limit": "how many files are read at most, in alphabetical order",
}
UNITS = ("file", "function")
# Tests, translations of other data into tables, and what is not part of the library.
SKIPPED = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "__pycache__", "encodings"}
)
CHUNK_ROWS = 512


def schema(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """The columns; files are counted, functions are not. Raises `SourceError`."""
    files = _files(uri, options)
    names = ("text", "file") if _unit(uri, options) == "file" else ("text", "doc", "name", "file")
    columns = tuple(ColumnSchema(name, "text", "text") for name in names)
    return SourceSchema(columns, len(files) if len(names) == 2 else None)


def fingerprint(uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
    """The version of Python, and the names and sizes of the files: distributions patch the library."""
    listed = "".join(f"{name} {_sizes()[name]}\n" for name in _files(uri, options))
    return f"python:stdlib:{sys.version}:{hashlib.sha256(listed.encode()).hexdigest()}"


def chunks(uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
    """Read the files in alphabetical order; bytes that are not UTF-8 become the replacement character."""
    import numpy as np

    columns = schema(uri, options, base).columns
    rows = _functions if _unit(uri, options) == "function" else _whole
    found = (row for name in _files(uri, options) for row in rows(name))
    while piece := list(islice(found, CHUNK_ROWS)):
        yield {column.name: np.array([row[column.name] for row in piece], dtype=object) for column in columns}


def _unit(uri: str, options: Mapping[str, Any]) -> str:
    unit = str(options.get("rows", "file"))
    if unit not in UNITS:
        raise SourceError(
            f'no unit is called "{unit}"', uri=uri, hint=nearest(unit, UNITS) or f"units: {', '.join(UNITS)}"
        )
    return unit


def _folder() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _files(uri: str, options: Mapping[str, Any]) -> list[str]:
    """The library's files that hold something, by relative name, sorted. Raises `SourceError`."""
    name, limit = locator(uri), options.get("limit")
    if name != "stdlib":
        raise SourceError(f'Python has no texts called "{name}"', uri=uri, hint='there is "python:stdlib"')
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise SourceError("limit", uri=uri, expected="a number of files", got=str(limit), option="limit")
    if not (found := _sizes()):
        raise SourceError("this Python comes without the sources of its library", uri=uri, file=str(_folder()))
    return list(found)[:limit]


@cache
def _sizes() -> dict[str, int]:
    """The bytes of each file of the library that is not empty, sorted by relative name."""
    return dict(sorted((name, size) for name, size in _walk(str(_folder()), "") if size))


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name not in SKIPPED:
                    yield from _walk(entry.path, f"{prefix}{entry.name}/")
            elif entry.name.endswith(".py"):
                yield prefix + entry.name, entry.stat().st_size


def _read(name: str) -> str:
    return (_folder() / name).read_text(encoding="utf-8", errors="replace")


def _whole(name: str) -> Iterator[dict[str, str]]:
    yield {"text": _read(name), "file": name}


def _functions(name: str) -> Iterator[dict[str, str]]:
    """Functions and methods that have a docstring, which is cut out of their text."""
    source = _read(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own
            tree = ast.parse(source)
    except SyntaxError:  # templates of other programs, such as lib2to3's
        return
    lines = source.splitlines(keepends=True)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (doc := ast.get_docstring(node)):
            first = node.body[0]
            head, tail = lines[node.lineno - 1 : first.lineno - 1], lines[first.end_lineno or 0 : node.end_lineno]
            yield {"text": "".join(head + tail), "doc": doc, "name": node.name, "file": name}
