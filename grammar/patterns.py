"""Parameters of lambdas: read as expressions, because only the `=>` after them tells, and turned into patterns here."""

from __future__ import annotations

from collections.abc import Iterator

from etude.grammar import nodes as n
from etude.grammar.faults import SyntaxFault
from etude.grammar.nodes import Span

_FORMS = "a parameter is a name, or a record of names such as `{image, label: y}`"


def as_pattern(expr: n.Expr) -> n.Pattern:
    """Turn the expression written as a lambda's parameter into a pattern."""
    if isinstance(expr, n.Name):
        return n.NamePattern(expr.name, span=expr.span)
    if isinstance(expr, n.RecordExpr):
        return n.RecordPattern(tuple(map(_as_field, expr.fields)), span=expr.span)
    raise SyntaxFault("E108", "this cannot be a parameter of a lambda", expr.span, "not a parameter", _FORMS)


def _as_field(field: n.Field | n.Spread) -> n.PatternField:
    if isinstance(field, n.Spread):
        message = "a pattern cannot hold `...`"
        help = "name the fields that are used; the others are left alone"
        raise SyntaxFault("E108", message, field.span, "not a field", help)
    if not isinstance(field.value, n.Name):
        message = "a field of a pattern can only be renamed"
        help = f"write `{field.name}` or `{field.name}: new_name`, and take it apart in the body"
        raise SyntaxFault("E108", message, field.value.span, "expected a name", help)
    return n.PatternField(field.name, field.value.name, span=field.span)


def refuse_repeats(patterns: tuple[n.Pattern, ...]) -> None:
    """Refuse parameters that bind one name twice (`_` may repeat)."""
    seen: dict[str, Span] = {}
    for name, span in _bound(patterns):
        if name in seen and name != "_":
            message = f"the parameter `{name}` appears twice"
            related = ((seen[name], "first here"),)
            raise SyntaxFault("E108", message, span, "again here", "give one of them another name", related)
        seen[name] = span


def _bound(patterns: tuple[n.Pattern, ...]) -> Iterator[tuple[str, Span]]:
    for pattern in patterns:
        if isinstance(pattern, n.NamePattern):
            yield pattern.name, pattern.span
        else:
            yield from ((field.name, field.span) for field in pattern.fields)
