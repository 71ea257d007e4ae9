"""What the parser has to say about a text: one fault it stops at, warnings it goes on after."""

from __future__ import annotations

from msgspec import Struct

from etude.grammar.nodes import Span


class SyntaxFault(Exception):
    """A text that is not Etude. `label` stands under the caret at `span`; `related` are further places with labels."""

    def __init__(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        help: str | None = None,
        related: tuple[tuple[Span, str], ...] = (),
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.span = code, message, span
        self.label, self.help, self.related = label, help, related


class SyntaxWarning_(Struct, frozen=True):
    """Something that parses but is probably not meant; fields as for `SyntaxFault`."""

    code: str
    message: str
    span: Span
    label: str = ""
    help: str | None = None
    related: tuple[tuple[Span, str], ...] = ()
