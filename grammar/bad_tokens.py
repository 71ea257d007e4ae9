"""What to say about text that is no token at all: broken numbers, broken strings, stray characters."""

from __future__ import annotations

import re

from etude.grammar.faults import Remedy, SyntaxFault, removing, replacing
from etude.grammar.literals import COUNTED, SCALES, UNITS
from etude.grammar.nodes import Span
from etude.grammar.slips import is_slip

_UNITS_TEXT = "the units are " + " ".join(UNITS) + ", and the scales " + " ".join(SCALES)
_QUOTES = "'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
_HINTS = {
    ";": "a new line or a space is enough between statements",
    "&": "write `and`",
    "|": "write `or`, or `|>` for a pipe",
    "!": "write `not`, or `!=` for a comparison",
    "^": "write `**` for a power",
    "~": "write `not`",
    "\\": "newlines do not matter: an expression may go on in the next line without a mark",
    "$": "names are ASCII letters, digits and `_`",
    **dict.fromkeys("\u2212\u2013\u2014", "write `-` for minus"),
    "\u00d7": "write `*`",
    "\u2026": "write three dots, `...`",
    "\u2192": "write `->` or `=>`",
    "\u2264": "write `<=`",
    "\u2265": "write `>=`",
    "\u2260": "write `!=`",
}
_REPLACEMENTS = {
    "&&": "and", "||": "or", "::": ".", "!": "not ",
    **dict.fromkeys("\u2212\u2013\u2014", "-"), "\u00d7": "*", "\u2026": "...",
    "\u2264": "<=", "\u2265": ">=", "\u2260": "!=",
}  # fmt: skip
_REMOVED = (";", ";;", "\\", "$")
_DOUBLED = ("&&", "||", "::", ";;")


def bad_token(kind: str, written: str, start: int, text: str) -> SyntaxFault:
    """Say what is wrong with the token `written` of a kind BAD_*, found at `start` of `text`."""
    if kind == "BAD_NUMBER":
        return _bad_number(written, start)
    if kind == "BAD_STRING":
        return _bad_string(written, start, text)
    return _stray(written, start, text)


def _bad_string(written: str, start: int, text: str) -> SyntaxFault:
    span = Span(start, start + len(written.rstrip()))
    if text[max(0, start - 2) : start] == '""':
        message = "there are no strings of several lines"
        help = 'write `"..."` on one line, with `\\n` for a line break'
        return SyntaxFault("E102", message, Span(start - 2, start + 1), "three quotes", help)
    help = 'a string ends with `"` on the line where it starts; write a line break inside it as `\\n`'
    return SyntaxFault("E102", "this string is not closed", span, 'expected `"` before the end of the line', help)


def _bad_number(written: str, start: int) -> SyntaxFault:
    span = Span(start, start + len(written))
    match = re.match(r"[0-9_]+(?:[eE][+-]?[0-9]+)?", written)
    assert match is not None
    digits, suffix = match.group(), written[match.end() :]
    if suffix.startswith("%"):
        help = f"put spaces around `%` for the remainder: `{digits} % {suffix[1:]}`"
        return SyntaxFault("E103", f"`{written}` is neither a percentage nor a remainder", span, "not a number", help)
    if not suffix or "_" in digits:
        help = "an underscore stands between two digits: `1_000`"
        return SyntaxFault("E103", f"`{written}` is not a number", span, "not a number", help)
    if suffix in ("e", "E") and digits.isdecimal():
        help = f"write the exponent, as in `{digits}e-3`"
        return SyntaxFault("E103", f"`{written}` is not a number", span, "the exponent is missing", help)
    near = _nearest_unit(suffix)
    help = f"did you mean `{digits}{near}`?" if near else _UNITS_TEXT
    place = Span(start + len(digits), span.end)
    remedy = replacing(place, suffix, near, is_safe=_is_spoken(suffix, near)) if near else None
    return SyntaxFault("E103", f"unknown unit `{suffix}`", place, "not a unit", help, remedy=remedy)


def _is_spoken(suffix: str, near: str) -> bool:
    """Whether a suffix is another word for the unit, or the unit with a letter too many, too few or doubled."""
    spoken = _SPOKEN.get(suffix, _SPOKEN.get(suffix.lower()))
    return spoken == near or (len(near) > 3 and is_slip(suffix, near))


def _nearest_unit(suffix: str) -> str | None:
    import difflib

    known = [*UNITS, *SCALES, *(scale + unit for scale in SCALES for unit in COUNTED)]
    for wanted in (suffix, suffix.lower()):
        if wanted in _SPOKEN:
            return _SPOKEN[wanted]
    near = difflib.get_close_matches(suffix, known, 1, 0.6)
    return near[0] if near else None


_SPOKEN = {
    **dict.fromkeys(("ep", "epoch", "epochs"), "epochs"),
    **dict.fromkeys(("m", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("it", "its", "iter", "iters", "iterations"), "steps"),
    **dict.fromkeys(("rows", "samples"), "examples"),
    **dict.fromkeys(("kb", "kib"), "KiB"),
    **dict.fromkeys(("mb", "mib"), "MiB"),
    **dict.fromkeys(("gb", "gib"), "GiB"),
    "pixels": "px",
    "pct": "%",
    "percent": "%",
}


def _stray(char: str, start: int, text: str) -> SyntaxFault:
    span = Span(start, start + 1)
    if char in _QUOTES:
        message = f"a string is written in double quotes, not in `{char}`" if char != "`" else "a stray backquote"
        return SyntaxFault("E104", message, span, "not a quote here", 'write `"..."`', remedy=_requoted(start, text))
    if text[start : start + 2] in _DOUBLED:
        char, span = char * 2, Span(start, start + 2)
    if char.isalpha() or char.isdigit():
        message, help = (
            f"`{char}` cannot stand in a name",
            "names are ASCII letters, digits and `_`; text goes into strings",
        )
        return SyntaxFault("E104", message, span, "not an ASCII letter", help)
    shown = char if char.isprintable() else f"U+{ord(char):04X}"
    hint, remedy = _HINTS.get(char[0]), None
    if char in _REPLACEMENTS:
        remedy = replacing(span, char, _REPLACEMENTS[char])
    elif char in _REMOVED:
        remedy = removing(span, char)
    return SyntaxFault("E104", f"stray character `{shown}`", span, "no part of the language", hint, remedy=remedy)


def _requoted(start: int, text: str) -> Remedy | None:
    """A string in quotes of another kind, on one line and with nothing inside that would need an escape."""
    match = re.compile(
        r"""(['\u2018])([^'"\\\n\u2019]*)['\u2019]|[\u201c\u00ab\u201d]([^"\\\n\u201d\u00bb]*)[\u201d\u00bb]"""
    ).match(text, start)
    if match is None:
        return None
    inside = match.group(2) if match.group(2) is not None else match.group(3)
    return replacing(Span(*match.span()), match.group(), f'"{inside}"')
