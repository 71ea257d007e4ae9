"""The parser: text to tree, or a `SyntaxFault` that says where and why not."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from etude.grammar import tables
from etude.grammar.automaton import Automaton, RefusedToken
from etude.grammar.build import Builder
from etude.grammar.faults import SyntaxFault, SyntaxWarning_
from etude.grammar.nesting import refuse_deep_brackets, refuse_deep_tree
from etude.grammar.nodes import Program
from etude.grammar.tokens import Token

if TYPE_CHECKING:
    import lark

__all__ = ["SyntaxFault", "SyntaxWarning_", "parse", "parse_with_warnings"]

LARGE = 100_000  # characters from which pausing the garbage collector pays
_lock = threading.Lock()


def parse(text: str) -> Program:
    """Parse a recipe; raise `SyntaxFault` where it is not one."""
    return parse_with_warnings(text)[0]


def parse_with_warnings(text: str) -> tuple[Program, tuple[SyntaxWarning_, ...]]:
    """Parse a recipe, and also give what looks unintended."""
    refuse_deep_brackets(text)
    with _lock, _collector_paused(len(text) >= LARGE):
        parser, builder = _machine()
        builder.begin(text)
        try:
            program = parser.parse(text)
        except RefusedToken as error:
            raise _explained(text, error.token) from None
        warnings = tuple(builder.warnings)
    assert isinstance(program, Program)
    refuse_deep_tree(program)
    return program, warnings


def _explained(text: str, refused: Token) -> SyntaxFault:
    from etude.grammar.explain import explain  # needed for texts with mistakes only
    from etude.grammar.situation import situation

    return explain(situation(_explaining(), text, refused))


@functools.cache
def _machine() -> tuple[Automaton, Builder]:
    builder = Builder()
    return Automaton(tables.load(), builder), builder


@functools.cache
def _explaining() -> lark.Lark:
    return tables.load_lark()


@contextmanager
def _collector_paused(pause: bool) -> Iterator[None]:
    """A tree has no cycles: collecting while it grows only costs (40 % of the time for a text of 1 MB)."""
    if not (pause and gc.isenabled()):
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
