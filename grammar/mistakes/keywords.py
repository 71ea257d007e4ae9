"""Keywords where they cannot stand."""

from __future__ import annotations

import re

from etude.grammar.faults import SyntaxFault, replacing
from etude.grammar.situation import KEYWORDS, TOP_LEVEL, Situation, span_of
from etude.grammar.slips import surely_meant

_ALLOWED = "keywords may stand after `.`, as fields of records and as names of arguments"


def keyword_as_name(s: Situation) -> SyntaxFault | None:
    """`model = net`, `x => in`, `fn f(param)`, `{model, x}`."""
    token, before = s.token, s.before
    if before in KEYWORDS and before.type != "STRING":
        if token.type == "EQUAL" or (token in (",", ")") and s.accepts == {"EQUAL"}):
            return _reserved(s, s.index - 1)
        if token in (",", "}") and s.accepts == {"COLON"}:
            help = f"write `{before}: {before}_`, with a name that is not a keyword"
            return SyntaxFault(
                "E109", f"the keyword `{before}` names no value", span_of(before), "expected `name:`", help
            )
        if before == "fn" and token.type == "LPAR":
            help = "a function without a name is written `(x) => ...`"
            return SyntaxFault("E109", "a `fn` needs a name", s.span, "expected a name", help)
    if token == "fn" and s.wants_expression:
        help = "write `(x) => ...`; a `fn` with a name is a statement"
        return SyntaxFault("E109", "a function without a name is a lambda", s.span, "expected an expression", help)
    if s.is_after_expression and not s.starts_line(s.index) and s.at(1).type != "EQUAL":
        return None
    if token in KEYWORDS and token != "if" and "NAME" in s.accepts and not _starts_statement(s):
        return _reserved(s, s.index)
    return None


def _reserved(s: Situation, index: int) -> SyntaxFault:
    word = s.tokens[index]
    help = f"choose another name, such as `{word}_`; {_ALLOWED}"
    # One name in all its places: it is bound under the keyword still, or under the new name by now, not under both.
    bound = [re.search(rf"(?m)^\s*{name}\s*=(?!=)", s.text) for name in (word, f"{word}_")]
    is_safe = (bound[0] is None) != (bound[1] is None)
    remedy = replacing(span_of(word), str(word), f"{word}_", is_safe=is_safe)
    message = f"`{word}` is a keyword, not a name"
    return SyntaxFault("E109", message, span_of(word), "expected a name", help, remedy=remedy)


def _starts_statement(s: Situation) -> bool:
    return s.token in (*TOP_LEVEL, "fn", "return") and s.starts_line(s.index) and s.at(1).type != "EQUAL"


def control_flow(s: Situation) -> SyntaxFault | None:
    """Statements of other languages: `for`, `while`, `if`; and Python's `a if c else b`, `x in xs`."""
    token = str(s.token)
    is_statement = s.starts_line(s.index) and "EQUAL" not in s.accepts and not s.wants_expression
    if is_statement and token in ("for", "while"):
        help = "make a list, `[... for x in xs]`, or carry a value, `loop (acc = start, x in xs) { ... return acc }`"
        return SyntaxFault("E114", f"there is no `{token}` statement", s.span, "not a statement", help)
    if is_statement and token == "if" and "IF" not in s.accepts:
        help = "`if` is an expression: `name = if c then a else b`"
        return SyntaxFault("E114", "there is no `if` statement", s.span, "not a statement", help)
    if s.is_after_expression and token == "if":
        help = "write `if c then a else b`"
        return SyntaxFault("E114", "`if` comes before its value", s.span, "not an operator", help)
    if s.is_after_expression and token in ("in", "not"):
        help = "compare with `==`, or use a function for membership"
        return SyntaxFault("E114", f"`{token}` is not an operator between values", s.span, "not an operator", help)
    return None


def misplaced_statement(s: Situation) -> SyntaxFault | None:
    """`return` at the top level, `expect` in a body."""
    if s.token == "return" and "RETURN" not in s.accepts and not s.open_brackets:
        return SyntaxFault(
            "E101", "`return` outside a body", s.span, "no body here", "a binding is enough: `name = ...`"
        )
    if s.token in TOP_LEVEL and "RETURN" in s.accepts and s.at(1).type != "EQUAL":
        help = f"move it out of the body; a `{s.token}` stands at the top level of a file"
        return SyntaxFault("E101", f"`{s.token}` inside a body", s.span, "expected a binding or `return`", help)
    return None


STARTS = (*TOP_LEVEL, "fn", "because", "as", "then", "else")


def misspelled_keyword(s: Situation) -> SyntaxFault | None:
    """`epxect a > b`, `if c than a else b`, `expect a because "..."`, written with a slip."""
    word, known = s.token, [t.lower() for t in s.accepts if t.lower() in KEYWORDS]
    if s.is_after_first_name and s.token != "=" and s.token.line == s.before.line:
        word, known = s.before, [*STARTS, *(["return"] if s.open_brackets else [])]
    if word.type != "NAME":
        return None
    meant = surely_meant(str(word), known)
    if meant is None:
        return None
    span = span_of(word)
    remedy = replacing(span, str(word), meant)
    return SyntaxFault(
        "E101", f"`{word}` is not a keyword", span, "not a keyword", f"did you mean `{meant}`?", remedy=remedy
    )
