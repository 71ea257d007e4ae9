"""What the terminal can show."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

from etude.compiler.render.ansi import Paint

# What stands for what where a character is missing: curves, marks, branches.
PLAINER = {
    **dict(zip("▁▂▃▄▅▆▇█", "_.-~=+*#", strict=True)),
    **dict(zip("✓✗•·→│├└─━", "+x*.>||`--", strict=True)),
    "\u00d7": "x",
    "…": "...",
}


def show_what_it_can(stream: TextIO) -> None:
    """Let a stream whose encoding lacks a character show another one in its place, a terminal of ASCII for one."""
    if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
        codecs.register_error("etude-plainer", _plainer)
        stream.reconfigure(errors="etude-plainer")


def _plainer(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    return "".join(PLAINER.get(character, "?") for character in missing), error.end


def is_live(stream: TextIO) -> bool:
    """Whether lines may be redrawn: a terminal that is not dumb."""
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


def paint_for(stream: TextIO) -> Paint:
    """Colours where the stream shows them; NO_COLOR and FORCE_COLOR are respected."""
    if os.environ.get("NO_COLOR"):
        return Paint(False)
    return Paint(bool(os.environ.get("FORCE_COLOR")) or is_live(stream))


def say_error(message: str, hint: str | None = None) -> None:
    """One error that has no place in a recipe, to standard error."""
    paint = paint_for(sys.stderr)
    first, *rest = message.splitlines() or [""]
    print(paint("error", "bold red") + paint(f": {first}", "bold"), file=sys.stderr)
    for line in [*rest, *([f"hint: {hint}"] if hint else [])]:
        shown = paint("hint:", "bold cyan") + line[5:] if line.startswith("hint:") else line
        print(shown, file=sys.stderr)


def print_json(value: object) -> None:
    """One JSON object on standard output."""
    from etude.runtime.jsontext import json_text

    print(json_text(value))
