"""The values of literals: numbers with units, and strings with escapes."""

from __future__ import annotations

import math
import re

from etude.grammar.faults import SyntaxFault, replacing
from etude.grammar.nodes import Number, Quantity, Span, String

COUNTED = ("epochs", "steps", "tokens", "examples")
UNITS = ("%", *COUNTED, "h", "min", "s", "ms", "KiB", "MiB", "GiB", "px")
SCALES = ("k", "M", "G", "T", "B")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}

_SUFFIX = re.compile(r"(?<=[0-9])(?:%|[A-Za-z]+)$")
_PLURALS = {unit[:-1]: unit for unit in COUNTED} | {unit: unit for unit in COUNTED}
_KNOWN = (
    {unit: ("", unit) for unit in UNITS}
    | {scale: (scale, "") for scale in SCALES}
    | {scale + word: (scale, unit) for scale in ("", *SCALES) for word, unit in _PLURALS.items()}
)


def number(text: str, span: Span) -> Number:
    """Read a bare number."""
    return Number(_value(text, span), text, span=span)


def quantity(text: str, span: Span) -> Quantity:
    """Read a number with a unit or a scale; singular units become plural."""
    suffix = _SUFFIX.search(text)
    assert suffix is not None
    prefix, unit = _KNOWN[suffix.group()]
    return Quantity(_value(text[: suffix.start()], span), prefix, unit, text, span=span)


def _value(text: str, span: Span) -> int | float:
    digits = text.replace("_", "")
    try:
        value = int(digits) if digits.isdecimal() else float(digits)
    except ValueError:  # Python refuses to read integers of thousands of digits
        value = math.inf
    if value == math.inf:
        raise SyntaxFault("E103", "this number is too large", span, help="the largest number is about 1.8e308")
    return value


def string(text: str, span: Span) -> String:
    """Read a string literal with its quotes."""
    return String(string_value(text, span.start), span=span)


def string_value(text: str, start: int) -> str:
    """Resolve the escapes of a string literal that starts at offset `start`."""
    if "\\" not in text:
        return text[1:-1]
    pieces = []
    at = 1
    while (found := text.find("\\", at)) >= 0:
        char = text[found + 1]
        if char not in ESCAPES:
            span = Span(start + found, start + found + 2)
            raise SyntaxFault(
                "E112",
                f"unknown escape `\\{char}` in a string",
                span,
                label="not an escape",
                help='the escapes are \\n \\t \\r \\" and \\\\; write a backslash as `\\\\`',
                remedy=replacing(span, f"\\{char}", f"\\\\{char}"),
            )
        pieces += [text[at:found], ESCAPES[char]]
        at = found + 2
    return "".join([*pieces, text[at:-1]])
