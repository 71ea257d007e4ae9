"""What the parser has to say about a text: one fault it stops at, warnings it goes on after."""

from __future__ import annotations

from dataclasses import dataclass

from etude.grammar.nodes import Span


@dataclass(eq=False)
class SyntaxFault(Exception):
    """A text that is not Etude. `label` stands under the caret at `span`; `related` are further places with labels."""

    code: str
    message: str
    span: Span
    label: str = ""
    help: str | None = None
    related: tuple[tuple[Span, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class SyntaxWarning_:
    """Something that parses but is probably not meant; fields as for `SyntaxFault`."""

    code: str
    message: str
    span: Span
    label: str = ""
    help: str | None = None
    related: tuple[tuple[Span, str], ...] = ()
