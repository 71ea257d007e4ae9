"""Functions without a name: their parameters, the `=` before them, and tuples, which there are none of."""

from __future__ import annotations

from etude.grammar.faults import Remedy, SyntaxFault, replacing
from etude.grammar.nodes import Span
from etude.grammar.situation import Situation, span_of


def missing_equals(s: Situation) -> SyntaxFault | None:
    """`loss (x, y) => e` and `x = loss (y) => e`."""
    if s.is_after_first_name and s.token == "(":
        opener = s.index
    elif s.token.type == "ARROW" and s.before == ")":
        opener = s.opener_of(s.index - 1)
    else:
        return None
    name = s.tokens[opener - 1]
    if opener == 0 or name.type != "NAME" or name.end_line != s.tokens[opener].line or not _leads_to_arrow(s, opener):
        return None
    span = Span(span_of(name).start, span_of(s.tokens[opener]).end)
    parameters = s.joined(opener, _closer(s, opener))
    if name.end_pos == s.tokens[opener].start_pos and s.is_after_first_name:
        help = f"define a function with `fn {name}{parameters} = ...`"
    else:
        help = f"write `{name} = {parameters} => ...`"
    message = f"`=` is missing between `{name}` and its function"
    gap = Span(span_of(name).end, span_of(s.tokens[opener]).start)
    remedy = Remedy("insert `=`", ((gap, " = "),))
    return SyntaxFault("E107", message, span, "expected `=` between", help, remedy=remedy)


def _closer(s: Situation, opener: int) -> int:
    depth = 0
    for i in range(opener, len(s.tokens)):
        depth += (s.tokens[i] in ("(", "[", "{")) - (s.tokens[i] in (")", "]", "}"))
        if depth == 0:
            return i
    return len(s.tokens) - 1


def _leads_to_arrow(s: Situation, opener: int) -> bool:
    closer = _closer(s, opener)
    return closer + 1 < len(s.tokens) and s.tokens[closer + 1].type == "ARROW"


def bad_parameter(s: Situation) -> SyntaxFault | None:
    """`{a, b} => e`, `1 => e`, `a.b => e`, `f = fn x => e`."""
    if s.token.type == "RETURNS" and s.is_after_expression:
        help = "a lambda is written with `=>`: `x => ...`"
        message, remedy = "`->` stands only before the type that a `fn` returns", replacing(s.span, "->", "=>")
        return SyntaxFault("E108", message, s.span, "expected `=>`", help, remedy=remedy)
    if s.token.type != "ARROW" or not s.is_after_expression:
        return None
    if s.before == "}":
        start = s.opener_of(s.index - 1)
        span = Span(span_of(s.tokens[start]).start, span_of(s.before).end)
        help = f"write `({s.joined(start, s.index - 1)}) => ...`"
        edits = ((Span(span.start, span.start), "("), (Span(span.end, span.end), ")"))
        remedy = Remedy("put the pattern in parentheses", edits)
        return SyntaxFault(
            "E108", "a pattern stands in parentheses", span, "expected `(` before it", help, remedy=remedy
        )
    help = "a lambda is written `x => ...` or `(x, y) => ...`; as an operand it stands in parentheses"
    return SyntaxFault("E108", "`=>` comes after parameters", s.span, "no parameters before this", help)


def lambda_parameter(s: Situation) -> SyntaxFault | None:
    """`(x, y = 3) => e`, `(x: int) => e`."""
    if s.token not in ("=", ":") or s.before.type != "NAME" or not s.open_brackets:
        return None
    opener = s.open_brackets[-1]
    if s.tokens[opener] != "(" or not _leads_to_arrow(s, opener):
        return None
    what = "default" if s.token == "=" else "type"
    help = "define it with `fn name(...) = ...`, which may also stand in a body"
    return SyntaxFault("E108", f"a parameter of a lambda has no {what}", s.span, "expected `,` or `)`", help)


def function_parameter(s: Situation) -> SyntaxFault | None:
    """`fn f({image, label}) = e`, `model m()({image}) {`: only lambdas take records apart."""
    if s.token != "{" or s.accepts - {"NAME", "RPAR"} or not s.open_brackets:
        return None
    opener, closer = s.open_brackets[-1], _closer(s, s.index)
    if s.tokens[opener] != "(":
        return None
    names = [str(token) for token in s.tokens[s.index + 1 : closer] if token.type == "NAME"]
    span = Span(s.span.start, span_of(s.tokens[closer]).end)
    if s.at(-2).type != "NAME" or s.tokens[opener - 2] != "fn":
        help = f"name them: ({', '.join(names)})" if names else "name them: (x, y)"
        return SyntaxFault("E108", "inputs of a model are names, and no pattern", span, "expected a name", help)
    name, parameters = s.tokens[opener - 1], s.joined(opener, _closer(s, opener))
    first = f"row.{names[0]}" if names else "row.x"
    help = f"write `{name} = {parameters} => ...`, or take the whole row, `fn {name}(row) = ... {first} ...`"
    message = "a parameter of a `fn` is a name: only a lambda takes a record apart"
    return SyntaxFault("E108", message, span, "expected a name", help, remedy=_as_lambda(s, opener, closer))


def _as_lambda(s: Situation, opener: int, closer: int) -> Remedy | None:
    """`f = ({a, b}) => e` for `fn f({a, b}) = e`, where that pattern is the only parameter."""
    if s.index != opener + 1 or s.tokens[closer + 1] != ")" or s.tokens[closer + 2] not in ("=", "{"):
        return None
    last, name = s.tokens[closer + 2], s.tokens[opener - 1]
    head = Span(span_of(s.tokens[opener - 2]).start, s.span.start)
    arrow = (span_of(last), "=>") if last == "=" else (Span(span_of(last).start, span_of(last).start), "=> ")
    return Remedy("write it as a lambda", ((head, f"{name} = ("), arrow))


def tuple_expression(s: Situation) -> SyntaxFault | None:
    """`(a, b)` that is no list of parameters, and `()`."""
    if s.accepts != {"ARROW"} or s.before != ")":
        return None
    opener = s.opener_of(s.index - 1)
    span = Span(span_of(s.tokens[opener]).start, span_of(s.before).end)
    if opener == s.index - 2:
        return SyntaxFault("E114", "`()` is not a value", span, "expected `=>` after it", "a list is written `[]`")
    inside = s.joined(opener + 1, s.index - 2)
    shown = inside if len(inside) < 40 and "\n" not in inside else "a, b"
    help = f"write a list, `[{shown}]`, or a record, `{{a: ..., b: ...}}`; parameters are followed by `=>`"
    return SyntaxFault("E114", "there are no tuples", span, "not a value", help)
