"""Where a call of a recipe gives an argument, found in its text: faults in the library know the name alone."""

from __future__ import annotations

import re

from etude.compiler.diagnostics import Location
from etude.grammar.nodes import Span

GIVEN = re.compile(r"(?<![.\w])([A-Za-z_]\w*)\s*=(?![=>])\s*")
NEXT = re.compile(r"\s*(?:[A-Za-z_]\w*\s*=(?![=>])|[)}]|#|\.\.\.)")
HIDDEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|#[^\n]*')


def argument_of(call: Location, name: str) -> Location | None:
    """The value that a call gives under a name, in its parentheses or its block."""
    if not name.isidentifier():
        return None
    text = HIDDEN.sub(
        lambda found: (" " if found[0][0] == "#" else "_") * len(found[0]),
        call.source.text[call.span.start : call.span.end],
    )
    found = [each.end() for each in GIVEN.finditer(text) if each[1] == name and _depth(text[: each.start(1)]) == 1]
    if len(found) != 1:
        return None
    value = text[found[0] :]
    end = next((place for place in range(1, len(value)) if _ends(value, place)), len(value))
    start = call.span.start + found[0]
    return Location(call.source, Span(start, start + len(value[:end].rstrip())))


def _depth(text: str) -> int:
    """How many brackets are open at the end of a text."""
    return sum(text.count(each) for each in "([{") - sum(text.count(each) for each in ")]}")


def _ends(value: str, place: int) -> bool:
    """Whether a value ends here: at a comma, its bracket's end, or where the next line begins another entry."""
    if value[place] not in ",)}\n" or _depth(value[:place]) != 0:
        return False
    return value[place] != "\n" or NEXT.match(value, place) is not None
