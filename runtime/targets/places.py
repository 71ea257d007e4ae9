"""Where each table and each setting of a TOML file stands: `tomllib` does not tell."""

from __future__ import annotations

import re
import tomllib
from typing import TypeAlias

from etude.grammar.nodes import Span

Path: TypeAlias = tuple[str, ...]

HEADER = re.compile(r"^[ \t]*(\[[^\[\]\n]+\])[ \t]*(?:#.*)?$", re.MULTILINE)
WORD = r"(?:[\w-]+|\"[^\"\n]*\"|'[^'\n]*')"
KEY = re.compile(rf"^[ \t]*({WORD}(?:[ \t]*\.[ \t]*{WORD})*)[ \t]*=[ \t]*([^\n#]*[^\s#])?", re.MULTILINE)


def find_places(text: str) -> dict[Path, Span]:
    """The headers of tables and the lines of settings by their path of keys; a setting ends where its value does."""
    found: dict[Path, Span] = {}
    headers = [(match.start(1), match.end(1), _path(match[1])) for match in HEADER.finditer(text)]
    for start, end, path in headers:
        found.setdefault(path, Span(start, end))
    for match in KEY.finditer(text):
        table = next((path for start, _, path in reversed(headers) if start < match.start()), ())
        found.setdefault((*table, *_path(f"{match[1]} = 0")), Span(match.start(1), match.end()))
    return found


def line_of(text: str, *keys: str) -> int | None:
    """The line of a setting, or of the nearest table around it.

    >>> line_of("[run]\\nretries = 1\\n", "run", "retries"), line_of("[run]\\n", "run", "x"), line_of("", "run")
    (2, 1, None)
    """
    places = find_places(text)
    for end in range(len(keys), 0, -1):
        if keys[:end] in places:
            return text.count("\n", 0, places[keys[:end]].start) + 1
    return None


def _path(text: str) -> Path:
    """The keys that a header or an assignment leads through; none for what only looks like one."""
    try:
        here = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while isinstance(here, dict) and here:
        ((key, here),) = here.items()
        path.append(key)
    return tuple(path)
