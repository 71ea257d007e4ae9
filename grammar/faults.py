"""What the parser has to say about a text: one fault it stops at, warnings it goes on after."""

from __future__ import annotations

from msgspec import Struct

from etude.grammar.nodes import Span


class Remedy(Struct, frozen=True):
    """Edits that mend a text; `is_safe` when nothing else can have been meant."""

    title: str
    edits: tuple[tuple[Span, str], ...]
    is_safe: bool = True


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
        remedy: Remedy | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.span = code, message, span
        self.label, self.help, self.related, self.remedy = label, help, related, remedy


class SyntaxWarning_(Struct, frozen=True):
    """Something that parses but is probably not meant; fields as for `SyntaxFault`."""

    code: str
    message: str
    span: Span
    label: str = ""
    help: str | None = None
    related: tuple[tuple[Span, str], ...] = ()
    remedy: Remedy | None = None


def replacing(span: Span, old: str, new: str, *, is_safe: bool = True) -> Remedy:
    """Write `new` for the text `old` at a span."""
    return Remedy(f"replace `{old}` by `{new.strip()}`", ((span, new),), is_safe)


def inserting(at: int, text: str, *, is_safe: bool = True) -> Remedy:
    """Put a text in at an offset."""
    return Remedy(f"insert `{text.strip()}`", ((Span(at, at), text),), is_safe)


def removing(span: Span, old: str, *, is_safe: bool = True) -> Remedy:
    """Take the text `old` at a span away."""
    return Remedy(f"remove `{old.strip()}`", ((span, ""),), is_safe)
