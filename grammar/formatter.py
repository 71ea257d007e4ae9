"""The canonical form of a recipe's text."""

from __future__ import annotations

from collections import Counter

from etude.grammar.comments import comments_of
from etude.grammar.equality import first_difference
from etude.grammar.layout import layout_of
from etude.grammar.parser import parse
from etude.grammar.printer import print_program

_ROUNDS = 4


class FormatRefused(Exception):
    """The formatter would have changed more than the looks of a text: a mistake of the formatter, not of the text."""


def format_source(text: str) -> str:
    """Format a recipe; raise `SyntaxFault` if it is none, and `FormatRefused` rather than change what it says.

    >>> format_source("x=1 # one")
    'x = 1  # one\\n'
    """
    formatted = _print(text)
    for _ in range(_ROUNDS):
        again = _print(formatted)
        if again == formatted:
            break
        formatted = again
    else:
        raise FormatRefused("formatting does not come to rest")
    _refuse_changes(text, formatted)
    return formatted


def _print(text: str) -> str:
    program = parse(text)
    return print_program(program, layout_of(program, text))


def _refuse_changes(before: str, after: str) -> None:
    difference = first_difference(parse(before), parse(after))
    if difference:
        raise FormatRefused(f"formatting would change the tree at {difference}")
    lost = _comments(before) - _comments(after)
    gained = _comments(after) - _comments(before)
    if lost or gained:
        raise FormatRefused(f"formatting would change comments: {sorted(lost + gained)}")


def _comments(text: str) -> Counter[str]:
    return Counter(comment.text for comment in comments_of(text))
