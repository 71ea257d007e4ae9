"""The LALR automaton: reads a text by the tables that lark made of the grammar, without lark.

Importing lark and giving it its tables takes longer than to check a short recipe; what is left to do with finished
tables is this one loop. Texts with mistakes are explained with lark's own parser (`situation.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from msgspec import Struct

from etude.grammar.tokens import Token

END = "$END"
Actions: TypeAlias = Mapping[str, int]
"""By the next token or the rule just read: the state to go to, or -1 - the index of the rule to reduce."""


class Tables(Struct, frozen=True, eq=False):
    """All that the automaton knows of the grammar, as plain values.

    `rules` are (name, number of children, method of the builder; none hands the only child on). `pattern` has a group
    for each terminal; a token of a terminal in `keywords` with one of the texts there is of that kind instead.
    """

    pattern: str
    ignored: tuple[str, ...]
    keywords: Mapping[str, Mapping[str, str]]
    rules: tuple[tuple[str, int, str | None], ...]
    states: tuple[Actions, ...]
    start: int
    end: int


class RefusedToken(Exception):
    """The grammar has no place for `token` here; its type is `$END` when the text ends too early."""

    def __init__(self, token: Token) -> None:
        super().__init__(token)
        self.token = token


class Automaton:
    """Parses texts, calling a method of `builder` for each rule that it has read."""

    def __init__(self, tables: Tables, builder: object) -> None:
        self.tables = tables
        self.pattern = re.compile(tables.pattern)
        self.rules: list[tuple[str, int, Callable[[list[Any]], Any] | None]] = [
            (name, count, getattr(builder, method) if method else None) for name, count, method in tables.rules
        ]

    def tokens(self, text: str) -> Iterator[Token]:
        """The tokens of a text, the last of them its end."""
        ignored, keywords = self.tables.ignored, self.tables.keywords
        at = 0
        for match in iter(self.pattern.scanner(text).match, None):  # type: ignore[attr-defined]
            kind, written, start, at = match.lastgroup, match.group(), at, match.end()
            if kind in ignored:
                continue
            if kind in keywords:
                kind = keywords[kind].get(written, kind)
            yield Token(kind, written, start, at)
        assert at == len(text), "the grammar has a token for every character"
        yield Token(END, "", at, at)

    def parse(self, text: str) -> Any:
        """What the builder made of the text. Raises RefusedToken, and what the builder raises."""
        states, rules, end = self.tables.states, self.rules, self.tables.end
        stack, values = [self.tables.start], list[Any]()
        for token in self.tokens(text):
            kind = token.type
            while (action := states[stack[-1]].get(kind)) is not None and action < 0:
                name, count, build = rules[-1 - action]
                if build is not None:
                    children = values[len(values) - count :]
                    del stack[len(stack) - count :], values[len(values) - count :]
                    values.append(build(children))
                else:
                    stack.pop()
                state = states[stack[-1]][name]
                stack.append(state)
                if state == end and kind == END:
                    return values[-1]
            if action is None:
                raise RefusedToken(token)
            stack.append(action)
            values.append(token)
        raise AssertionError("the end of a text is accepted or refused")
