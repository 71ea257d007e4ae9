"""Mistakes inside expressions: operands, conditions, commas."""

from __future__ import annotations

from etude.grammar.faults import SyntaxFault, inserting, removing, replacing
from etude.grammar.nodes import Span
from etude.grammar.situation import Situation, span_of


def conditional(s: Situation) -> SyntaxFault | None:
    """`if c: a`, `if c { a }`, a missing `else`, and `c ? a : b`."""
    help = "write `if c then a else b`"
    if s.token == "?" and s.is_after_expression:
        return SyntaxFault("E114", "`?` is not an operator", s.span, "not an operator", help)
    is_entry = "NAME" in s.accepts  # of a block, where every keyword may be the name of what comes next
    if s.is_after_expression and "THEN" in s.accepts and s.token != "=" and not is_entry:
        return SyntaxFault("E101", "a condition is followed by `then`", s.span, "expected `then`", help)
    if s.is_after_expression and "ELSE" in s.accepts and not is_entry:
        message = "an `if` is an expression and needs its `else`"
        return SyntaxFault("E101", message, s.span, "expected `else`", help)
    if s.wants_expression and s.token == "if" and "IF" not in s.accepts:
        help = "put it in parentheses: `(if c then a else b)`"
        return SyntaxFault("E101", "an `if` cannot be an operand", s.span, "needs parentheses", help)
    return None


def operator(s: Situation) -> SyntaxFault | None:
    """An operator without its left operand, an operator of another language, `.5`, `*args`."""
    token, following = s.token, s.at(1)
    if s.wants_expression and token == "." and following.type in ("NUMBER", "QUANTITY"):
        span = Span(s.span.start, span_of(following).end)
        help, remedy = f"write `0.{following}`", inserting(s.span.start, "0")
        return SyntaxFault("E103", "a number begins with a digit", span, "not a number", help, remedy=remedy)
    if "ELLIPSIS" in s.accepts and token in ("*", "**") and s.before in ("(", ",", "{"):
        help = f"write `...{following}`" if following.type == "NAME" else "arguments need no mark"
        spread = replacing(s.span, str(token), "...") if following.type == "NAME" and token == "**" else None
        return SyntaxFault("E114", f"`{token}` spreads nothing", s.span, "not an operator here", help, remedy=spread)
    if (
        s.wants_expression
        and token == "="
        and s.before.end_pos == token.start_pos
        and s.before.type in ("INFIX", "EQUAL")
    ):
        span = Span(span_of(s.before).start, s.span.end)
        help = {"==": "write `==`", "=": "write `==` to compare, `=` to bind"}.get(
            s.before, "nothing is changed in place"
        )
        shorter = removing(s.span, "=") if s.before == "==" else None
        return SyntaxFault("E114", f"`{s.before}=` is not an operator", span, "not an operator", help, remedy=shorter)
    if s.wants_expression and token == "=" and s.before == "=":
        remedy = removing(s.span, "=")
        return SyntaxFault("E101", "there is one `=` too many", s.span, "a second `=`", "remove it", remedy=remedy)
    if s.wants_expression and f"{s.before}{token}" == "<>":
        span = Span(span_of(s.before).start, s.span.end)
        remedy = replacing(span, "<>", "!=")
        return SyntaxFault("E114", "`<>` is not an operator", span, "not an operator", "write `!=`", remedy=remedy)
    if s.wants_expression and token.type in ("INFIX", "AND", "OR"):
        what = "an operand is missing before" if s.before.type != "INFIX" else "an operand is missing between"
        what += f" `{token}`" if s.before.type != "INFIX" else f" `{s.before}` and `{token}`"
        return SyntaxFault("E101", what, s.span, "expected an expression")
    return None


def loose_unit(s: Situation) -> SyntaxFault | None:
    """`3 epochs`, `5.`."""
    number, word = (s.before, s.token) if s.before.type == "NUMBER" else (s.at(-2), s.before)
    is_unit = word.type == "NAME" and word in _UNITS and number.type == "NUMBER" and number.line == word.line
    is_unit = is_unit and s.at(1 if word is s.token else 0).type != "ARROW"  # `runs(1..5 s => e)`
    if is_unit and (word is s.before or s.is_after_expression):
        span = Span(span_of(number).start, span_of(word).end)
        remedy = replacing(span, s.text[span.start : span.end], f"{number}{word}")
        return SyntaxFault("E103", "a unit stands right behind its number", span, "a space between", remedy=remedy)
    number = s.at(-2)
    if s.before == "." and number.type == "NUMBER" and "." not in number and "NAME" in s.accepts:
        span = Span(span_of(number).start, span_of(s.before).end)
        help = f"write `{number}.0`"
        return SyntaxFault("E103", "a number does not end with a point", span, "not a number", help)
    return None


_UNITS = {
    *("epoch", "epochs", "step", "steps", "token", "tokens", "example", "examples"),
    *("h", "min", "ms", "s", "KiB", "MiB", "GiB", "px"),
}


def comprehension(s: Situation) -> SyntaxFault | None:
    """`sum(i for i in xs)`, `{k: v for k in xs}`, `fn f(*args)`, `{1, 2}`."""
    opener = s.tokens[s.open_brackets[-1]] if s.open_brackets else None
    if s.token == "for" and opener in ("(", "{"):
        help = "a list is written `[e for x in xs]`"
        if opener == "{":
            help = "the fields of a record are written down; what varies is a list of records, `[{a: x} for x in xs]`"
        return SyntaxFault("E101", f"`for` stands in a list, and not in `{opener}`", s.span, "expected no `for`", help)
    if s.token in ("*", "**") and s.before in ("(", ",") and s.accepts <= {"NAME", "RPAR"}:
        help = "take a list or a record: `fn f(args: list)`, `fn f(settings: Record)`, and give `...settings`"
        return SyntaxFault("E101", "the parameters of a function are written down", s.span, "expected a name", help)
    if s.token.type in ("NUMBER", "QUANTITY", "STRING") and s.before == "{" and s.at(1) in (",", "}"):
        help = "a list is written `[1, 2]`, a record `{a: 1, b: 2}`"
        return SyntaxFault("E101", "there are no sets", s.span, "expected a name", help)
    return None


def odd_comma(s: Situation) -> SyntaxFault | None:
    """`f(a, , b)`, `[, a]`, and `f a, b)` outside of all brackets."""
    if s.token != ",":
        return None
    if s.wants_expression and s.before in (",", "(", "["):
        message, remedy = f"nothing stands between `{s.before}` and `,`", removing(s.span, ",")
        return SyntaxFault("E101", message, s.span, "expected an expression", "remove it", remedy=remedy)
    if s.is_after_expression and not s.open_brackets and "COMMA" not in s.accepts:
        help = "a `(` is missing before, or a `)` too many; what follows a statement begins a new line"
        return SyntaxFault("E101", "this comma stands in no bracket", s.span, "nothing is open here", help)
    return None


_PLAIN = ("NUMBER", "QUANTITY", "STRING", "TRUE", "FALSE")


def missing_comma(s: Situation) -> SyntaxFault | None:
    """Two expressions side by side in a list, a call or a record."""
    starts = ("NAME", "NUMBER", "QUANTITY", "STRING", "TRUE", "FALSE", "LBRACE", "ELLIPSIS", "LOOP", "IF")
    if not (s.is_after_expression and "COMMA" in s.accepts and s.token.type in starts):
        return None
    opener = s.tokens[s.open_brackets[-1]] if s.open_brackets else None
    if opener == "(" and s.before.type == "NAME" and s.at(-2) in ("(", ",") and s.token.type in _PLAIN:
        help, remedy = f"write `{s.before} = {s.token}`", inserting(span_of(s.before).end, " =")
        message = f"`=` is missing between the argument `{s.before}` and its value"
        return SyntaxFault("E101", message, s.span, "expected `=`", help, remedy=remedy)
    related = ((span_of(opener), "in what is opened here"),) if opener else ()
    message, remedy = f"a comma is missing before `{s.token}`", inserting(span_of(s.before).end, ",")
    return SyntaxFault("E101", message, s.span, "expected `,`", None, related, remedy)
