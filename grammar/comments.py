"""The comments of a text, and the text without them."""

from __future__ import annotations

import re

from msgspec import Struct

from etude.grammar.nodes import Span

_STRING_OR_COMMENT = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|#[^\n]*')


class Comment(Struct, frozen=True):
    """One `# ...` up to the end of its line; `is_own_line` if nothing but space stands before it."""

    text: str
    span: Span
    is_own_line: bool


def comments_of(text: str) -> tuple[Comment, ...]:
    """Collect the comments of a text, without the space at their ends."""
    return tuple(_comment(text, match) for match in _STRING_OR_COMMENT.finditer(text) if match[0].startswith("#"))


def _comment(text: str, match: re.Match[str]) -> Comment:
    written = match[0].rstrip()
    line_start = text.rfind("\n", 0, match.start()) + 1
    is_own_line = not text[line_start : match.start()].strip(" \t\r\f\v\ufeff")
    return Comment(written, Span(match.start(), match.start() + len(written)), is_own_line)


def masked(text: str) -> str:
    """Blank out comments and the insides of strings, so that brackets and signs can be searched; offsets stay."""
    return _STRING_OR_COMMENT.sub(_mask, text)


def _mask(match: re.Match[str]) -> str:
    written = match[0]
    return " " * len(written) if written.startswith("#") else '"' + "_" * (len(written) - 2) + '"'
