"""Parsing on after a fault: all independent mistakes of a text at once, and the tree of the statements without any.

A fault blanks out the top-level statement it lies in, and the rest is parsed again. Statements of the top level do not
depend on their order, so nothing that is found later follows from what was left out.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from msgspec import Struct

from etude.grammar.comments import masked
from etude.grammar.faults import SyntaxFault, SyntaxWarning_
from etude.grammar.nodes import Program
from etude.grammar.parser import parse_with_warnings

MAX_FAULTS = 20
MAX_CHARACTERS = 1_000_000
"""To be read in all repetitions together, beyond the first."""

_STATEMENT = re.compile(r"(use|param|fn|model|expect|assume|report)\b|[A-Za-z_][A-Za-z0-9_]*\s*=(?!=)")
_BRACKETS = re.compile(r"[()\[\]{}]")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


class Parsed(Struct, frozen=True):
    """A text as far as it parses: `program` lacks the statements that hold the `faults`."""

    program: Program
    faults: tuple[SyntaxFault, ...]
    warnings: tuple[SyntaxWarning_, ...]


def parse_all(text: str) -> Parsed:
    """Parse a recipe and collect its faults, in the order of the text; raise nothing.

    >>> [fault.code for fault in parse_all("a = 1\\nb = 'x'\\nc = 2\\nd = e > f > g\\n").faults]
    ['E104', 'E105']
    """
    remaining = text
    faults: list[SyntaxFault] = []
    for _ in range(max(1, min(MAX_FAULTS, MAX_CHARACTERS // (len(text) + 1)))):
        try:
            program, warnings = parse_with_warnings(remaining)
        except SyntaxFault as fault:
            faults.append(fault)
            remaining = _without(remaining, fault)
        else:
            return Parsed(program, tuple(sorted(faults, key=_position)), warnings)
    program, _ = parse_with_warnings("")
    return Parsed(program, tuple(sorted(faults, key=_position)), ())


def _position(fault: SyntaxFault) -> int:
    return fault.span.start


def _without(text: str, fault: SyntaxFault) -> str:
    """Blank out the statement that a fault lies in; a bracket that is not closed lies where it was opened."""
    places = [span.start for span, _ in fault.related] if fault.code == "E113" else []
    place = min([fault.span.start, *places])
    starts = _statement_starts(text)
    i = bisect_right(starts, place) - 1
    start, end = starts[i], [*starts[1:], len(text)][i]
    if not text[start:end].strip():  # the fault lies behind the last statement: nothing is left to try
        return ""
    return text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]


def _statement_starts(text: str) -> list[int]:
    """The offsets of the lines that begin a statement of the top level, or what was meant to be one."""
    starts = [0]
    opened: list[int] = []
    text = masked(text)
    closed = _closed_at_the_left(text)
    at = 0
    for line in text.split("\n"):
        looks_like_one = _STATEMENT.match(line) is not None and not any(opener in closed for opener in opened)
        if looks_like_one or (not opened and re.match(r"[^\s)\]}|.]", line)):
            starts.append(at)
            opened = []
        for match in _BRACKETS.finditer(line):
            if match.group() in "([{":
                opened.append(at + match.start())
            elif opened:
                opened.pop()
        at += len(line) + 1
    return starts


def _closed_at_the_left(text: str) -> set[int]:
    """The offsets of brackets that are closed, by their own kind, at the beginning of a line: it may be that what they
    hold is not indented."""
    found, stack = set(), []
    for match in _BRACKETS.finditer(text):
        if match.group() in "([{":
            stack.append(match)
        elif stack and _PAIRS[stack[-1].group()] == match.group():
            opener = stack.pop()
            if text[match.start() - 1 : match.start()] == "\n":
                found.add(opener.start())
        else:
            stack.clear()
    return found
