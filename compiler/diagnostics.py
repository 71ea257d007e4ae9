"""Diagnostics: what is wrong with a recipe, where, and what to do about it. Collected as data, not thrown at users."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from msgspec import Struct, field

from etude.grammar.nodes import Span

Severity = Literal["error", "warning"]


class Source(Struct, frozen=True, dict=True):
    """One recipe's text under the name that messages use for it."""

    name: str
    text: str

    @cached_property
    def line_starts(self) -> list[int]:
        return [0, *(i + 1 for i, char in enumerate(self.text) if char == "\n")]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1, columns in code points."""
        import bisect

        line = bisect.bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1) without its newline."""
        start = self.line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end]


class Location(Struct, frozen=True):
    """A span in a source."""

    source: Source
    span: Span


class Related(Struct, frozen=True):
    """A secondary place: where something was defined, where a shape comes from."""

    location: Location
    label: str


class Edit(Struct, frozen=True):
    location: Location
    text: str


class Fix(Struct, frozen=True):
    title: str
    edits: tuple[Edit, ...]
    safe: bool = True


class Diagnostic(Struct, frozen=True):
    """One message. `code` is stable (E203); `label` stands under the caret; `help` is the hint."""

    code: str
    message: str
    location: Location
    label: str = ""
    related: tuple[Related, ...] = ()
    help: str | None = None
    fixes: tuple[Fix, ...] = ()

    @property
    def severity(self) -> Severity:
        return "warning" if self.code.startswith("W") else "error"


class RecipeError(Exception):
    """Carries one diagnostic out of a nested evaluation to the statement that collects it."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


MOST = 100
"""Diagnostics that are told of one file: who has so many corrects some, and asks again."""


class Diagnostics(Struct):
    """The collector of one compilation; the same message at the same place is kept once."""

    items: list[Diagnostic] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is taken, so that there is no use in looking further."""
        return len(self.items) >= MOST

    def add(self, diagnostic: Diagnostic) -> None:
        said = (diagnostic.code, diagnostic.message, diagnostic.location)
        if self.is_full or any((each.code, each.message, each.location) == said for each in self.items):
            return
        # shapes that do not fit in one call of a library function do so for one reason
        known = (each.location for each in self.items if _is_shape_inside(each))
        if not (_is_shape_inside(diagnostic) and diagnostic.location in known):
            self.items.append(diagnostic)

    @property
    def has_errors(self) -> bool:
        return any(d.severity == "error" for d in self.items)

    def sorted(self) -> Sequence[Diagnostic]:
        return sorted(self.items, key=lambda d: (d.location.source.name, d.location.span.start, d.code))


def _is_shape_inside(diagnostic: Diagnostic) -> bool:
    """Whether shapes do not fit in another file than the one in which the fault is told."""
    here = diagnostic.location.source
    return diagnostic.code == "E302" and any(each.location.source != here for each in diagnostic.related)
