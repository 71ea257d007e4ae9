"""How operators bind: the table, and the reading of a flat list of operands and operators by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from etude.grammar import nodes as n
from etude.grammar.faults import Remedy, SyntaxFault, inserting
from etude.grammar.nodes import Span
from etude.grammar.tokens import Token

LEVELS: tuple[tuple[str, ...], ...] = (
    ("or",),
    ("and",),
    ("not",),
    ("<", "<=", ">", ">=", "==", "!="),
    ("|>",),
    ("..",),
    (">>",),
    ("+", "-"),
    ("*", "/", "//", "@", "%"),
    ("unary -",),
    ("**",),
)
"""From the loosest to the tightest. `**` groups to the right, comparisons and `..` do not chain, the rest goes left."""

PRECEDENCE = {operator: level for level, operators in enumerate(LEVELS, 1) for operator in operators}
POSTFIX = len(LEVELS) + 1
UNARY_MINUS = PRECEDENCE["unary -"]
POWER = PRECEDENCE["**"]
COMPARISON = PRECEDENCE["<"]
PIPE = PRECEDENCE["|>"]
RANGE = PRECEDENCE[".."]

_PREFIX = {"-": UNARY_MINUS, "not": PRECEDENCE["not"]}
_Pending: TypeAlias = tuple[int, Token, bool]


def climb(items: list[n.Expr | Token], text: str) -> n.Expr:
    """Build the tree of operands and operators as they stand in `text`; no depth of nesting makes this recurse."""
    operands: list[n.Expr] = []
    pending: list[_Pending] = []
    is_operand_next = True
    for item in items:
        if not isinstance(item, Token):
            operands.append(item)
            is_operand_next = False
        elif is_operand_next:
            pending.append(_prefix(item, pending))
        else:
            level = PRECEDENCE[item]
            _reduce(operands, pending, level + (level == POWER), text)
            if pending and pending[-1][0] == level and level in (COMPARISON, RANGE):
                raise _chained(pending, item, text)
            pending.append((level, item, False))
            is_operand_next = True
    _reduce(operands, pending, 0, text)
    return operands[0]


def _prefix(token: Token, pending: list[_Pending]) -> _Pending:
    level = _PREFIX[token]
    before = pending[-1] if pending else None
    if before and level < before[0] and not (before[0] == POWER and level == UNARY_MINUS):
        message = f"`{token}` binds looser than the `{before[1]}` before it"
        raise SyntaxFault("E101", message, _span(token), "needs parentheses", f"write `{before[1]} ({token} ...)`")
    return level, token, True


def _reduce(operands: list[n.Expr], pending: list[_Pending], level: int, text: str) -> None:
    """Apply what is pending and binds tighter than `level`, or as tight and groups to the left."""
    while pending and (pending[-1][0] > level or (pending[-1][0] == level and level not in (COMPARISON, RANGE))):
        _, token, is_prefix = pending.pop()
        right = operands.pop()
        if is_prefix:
            start = token.start_pos
            assert start is not None
            operands.append(n.Unary(str(token), right, span=Span(start, right.span.end)))
        else:
            operands.append(_join(operands.pop(), str(token), right, text))


def _join(left: n.Expr, operator: str, right: n.Expr, text: str) -> n.Expr:
    span = Span(left.span.start, right.span.end)
    if operator != "|>":
        return n.Binary(operator, left, right, span=span)
    if not isinstance(right, n.Call):
        raise _not_a_call(right, text)
    return n.Pipe(left, right, span=span)


def _chained(pending: Sequence[_Pending], second: Token, text: str) -> SyntaxFault:
    first = pending[-1][1]
    related = ((_span(first), "the first one"),)
    if second == "..":
        help = "a range has two ends; put one of them in parentheses if that is meant"
        return SyntaxFault("E105", "`..` cannot be chained", _span(second), "a second `..`", help, related)
    help = f"write `a {first} b and b {second} c`, or put one comparison in parentheses"
    middle = text[_span(first).end : _span(second).start].strip()
    at = _span(second).start
    is_alone = not any(token == "not" for _, token, _ in pending)  # `not` would hold for the first comparison only
    remedy = Remedy(f"insert `and {middle}`", ((Span(at, at), f"and {middle} "),)) if is_alone else None
    return SyntaxFault(
        "E105", "comparisons cannot be chained", _span(second), "a second comparison", help, related, remedy
    )


def _not_a_call(node: n.Expr, text: str) -> SyntaxFault:
    written = text[node.span.start : node.span.end]
    help, remedy = "a pipe goes on with a call, such as `|> f()`", None
    if "(" in written:
        help = "put the pipe in parentheses before going on: `(x |> f()).field`"
    if isinstance(node, n.Name) or (isinstance(node, n.Attribute) and "(" not in written):
        help = f"write `|> {written}()`: the value before `|>` becomes the first argument"
        remedy = inserting(node.span.end, "()")
    message = "the right side of `|>` must be a call"
    return SyntaxFault("E106", message, node.span, "not a call", help, remedy=remedy)


def _span(token: Token) -> Span:
    start, end = token.start_pos, token.end_pos
    assert start is not None and end is not None
    return Span(start, end)
