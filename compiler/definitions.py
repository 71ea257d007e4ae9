"""The definitions of a library file, found without parsing it, so that each is parsed when it is first used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from etude.compiler.diagnostics import Location, Source
from etude.compiler.scopes import Lazy, Scope
from etude.compiler.values import Closure, ModelClass
from etude.grammar import nodes
from etude.grammar.parser import parse

_STATEMENT = re.compile(r"^(?:(fn|model) +)?([A-Za-z_]\w*)", re.MULTILINE)


class Definition(Struct, frozen=True):
    """A statement at the start of a line, up to the next one. `kind` is fn, model, or empty for what is neither."""

    kind: str
    name: str
    start: int
    end: int


def definitions(text: str) -> Iterator[Definition]:
    """Find the statements of a formatted file: only they start a line with a letter."""
    found = list(_STATEMENT.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    for match, end in zip(found, ends, strict=True):
        yield Definition(match[1] or "", match[2], match.start(), end)


def define_lazily(source: Source, scope: Scope) -> list[nodes.Statement]:
    """Put the functions and models of a library file into its scope, unread; give its other statements."""
    others: list[nodes.Statement] = []
    for definition in definitions(source.text):
        if definition.kind:
            where = Location(source, nodes.Span(definition.start, definition.end))
            scope.names[definition.name] = _unread(definition, source, scope, where)
        else:
            others += _parsed(definition, source).statements
    return others


def _parsed(definition: Definition, source: Source) -> nodes.Program:
    """The tree of one statement, with its places in the whole text."""
    return parse(" " * definition.start + source.text[definition.start : definition.end])


def _unread(definition: Definition, source: Source, scope: Scope, where: Location) -> Lazy:
    known: list[Any] = []

    def read() -> Any:
        if not known:
            (statement,) = _parsed(definition, source).statements
            assert isinstance(statement, nodes.Fn | nodes.ModelDef)
            known.append(value_of(statement, scope))
        return known[0]

    return Lazy(definition.name, where, read)


def value_of(statement: nodes.Fn | nodes.ModelDef, scope: Scope) -> Closure | ModelClass:
    """What a definition binds its name to."""
    if isinstance(statement, nodes.ModelDef):
        return ModelClass(statement, scope)
    return Closure(statement.name, statement.parameters, statement.body, scope, statement)
