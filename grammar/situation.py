"""Where a parse stopped: the tokens around that place, and what could have come instead."""

from __future__ import annotations

from functools import cached_property

import lark
from lark import Token
from msgspec import Struct

from etude.grammar import tokens
from etude.grammar.nodes import Span

OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}
TOP_LEVEL = ("use", "param", "model", "expect", "assume", "report")
KEYWORDS = frozenset(TOP_LEVEL) | {"as", "in", "fn", "return", "because", "if", "then", "else", "loop", "while", "for"}
KEYWORDS |= {"and", "or", "not", "true", "false", "newaxis"}


class Situation(Struct, frozen=True, dict=True):
    """The parser read the tokens before `index` and refuses that one; `accepts` are the terminals it would take."""

    text: str
    tokens: tuple[Token, ...]
    index: int
    accepts: frozenset[str]

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    @property
    def span(self) -> Span:
        return span_of(self.token)

    def at(self, offset: int) -> Token:
        """The token `offset` places after the refused one; beyond the text, its end."""
        index = self.index + offset
        return self.tokens[index] if 0 <= index < len(self.tokens) else self.tokens[-1]

    @property
    def before(self) -> Token:
        return self.tokens[self.index - 1] if self.index else self.tokens[-1]

    @property
    def is_at_end(self) -> bool:
        return self.token.type == "$END"

    @property
    def wants_expression(self) -> bool:
        return "NUMBER" in self.accepts

    @property
    def is_after_expression(self) -> bool:
        return "INFIX" in self.accepts

    @property
    def is_after_first_name(self) -> bool:
        """Whether a statement, or an entry of a block, has begun with a name, and only `=` can follow."""
        return self.accepts == {"EQUAL"} and self.before.type == "NAME"

    @cached_property
    def open_brackets(self) -> tuple[int, ...]:
        """The indices of the brackets that are open before the refused token, outermost first."""
        return self.open_at(self.index)

    def open_at(self, index: int) -> tuple[int, ...]:
        """The indices of the brackets that are open before the token at `index`."""
        stack: list[int] = []
        for i, token in enumerate(self.tokens[:index]):
            if token in OPENERS:
                stack.append(i)
            elif token in CLOSERS and stack:
                stack.pop()
        return tuple(stack)

    def starts_line(self, index: int) -> bool:
        """Whether the token at `index` is the first of its line."""
        return index == 0 or self.tokens[index - 1].end_line != self.tokens[index].line

    def indent(self, index: int) -> int:
        """The column, from 0, at which the line of the token at `index` begins."""
        start = self.tokens[index].start_pos
        assert start is not None
        line_start = self.text.rfind("\n", 0, start) + 1
        line = self.text[line_start:]
        return len(line) - len(line.lstrip(" \t"))

    def opener_of(self, index: int) -> int:
        """The index of the bracket that the closing bracket at `index` closes."""
        return self.open_at(index)[-1]

    def joined(self, first: int, last: int) -> str:
        """The text from one token to another, both included."""
        return self.text[self.tokens[first].start_pos : self.tokens[last].end_pos]


def situation(parser: lark.Lark, text: str, refused: tokens.Token) -> Situation:
    """Read the text again up to the refused token, and ask the parser what it would take."""
    tokens = tuple(parser.lex(text))
    is_end = refused.type == "$END"
    index = len(tokens) if is_end else next(i for i, t in enumerate(tokens) if t.start_pos == refused.start_pos)
    interactive = parser.parse_interactive()
    for token in tokens[:index]:
        interactive.feed_token(token)
    accepts = interactive.accepts()  # type: ignore[no-untyped-call]
    return Situation(text, (*tokens, _end(tokens)), index, frozenset(accepts))


def _end(tokens: tuple[Token, ...]) -> Token:
    if not tokens:
        return Token("$END", "", 0, 1, 1, 1, 1, 0)
    last = tokens[-1]
    return Token("$END", "", last.end_pos, last.end_line, last.end_column, last.end_line, last.end_column, last.end_pos)


def span_of(token: Token) -> Span:
    """The span of a token."""
    start, end = token.start_pos, token.end_pos
    assert start is not None and end is not None
    return Span(start, end)
