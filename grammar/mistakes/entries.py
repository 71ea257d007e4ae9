"""The separators of entries, arguments and fields."""

from __future__ import annotations

from etude.grammar.faults import Remedy, SyntaxFault, removing, replacing
from etude.grammar.nodes import Span
from etude.grammar.situation import Situation, span_of


def comma_between_entries(s: Situation) -> SyntaxFault | None:
    """`train(on = d) { loss = f, batch = 3 }`, `{a = 1, b = 2}`."""
    if s.token not in (",", ";") or not s.open_brackets or s.tokens[s.open_brackets[-1]] != "{":
        return None
    if s.is_after_expression and "RETURN" in s.accepts and "AS" not in s.accepts:
        help = "a record is written `{a: 1, b: 2}`; bindings of a body need no separator"
        message, remedy = "bindings are not separated by commas", removing(s.span, str(s.token))
        return SyntaxFault("E101", message, s.span, "no comma here", help, remedy=remedy)
    if s.is_after_expression and "RBRACE" in s.accepts and "NAME" in s.accepts:
        help = "remove it: entries of a block need no separator"
        is_balanced = s.tokens.count("(") >= s.tokens.count(")")  # else it is a `(` that is missing
        remedy = removing(s.span, str(s.token), is_safe=is_balanced)
        message = "entries of a block are not separated by commas"
        return SyntaxFault("E101", message, s.span, "no comma here", help, remedy=remedy)
    return None


def equals_or_colon(s: Situation) -> SyntaxFault | None:
    """`f(a: 1)`, `{"a": 1}`, a block with `a: 1`, `if a = b`, `x: int = 1`."""
    if s.token == ":" and s.is_after_first_name:
        if s.open_brackets:
            message, help = "an entry is written with `=`", f"write `{s.before} = ...`; the colon is for records"
        else:
            message = "a binding has no type"
            help = f"write `{s.before} = ...`, or `param {s.before}: ...` for what is set from outside"
        remedy = _sign(s, "=") if s.open_brackets else None
        return SyntaxFault("E101", message, s.span, "expected `=`", help, remedy=remedy)
    if s.token == ":" and "EQUAL" in s.accepts:
        message, help = "an argument is written with `=`", f"write `{s.before} = ...`"
        return SyntaxFault("E101", message, s.span, "expected `=`", help, remedy=_sign(s, "="))
    if s.token == "=" and "COLON" in s.accepts and "EQUAL" not in s.accepts and not _is_index(s):
        message, help = "a field of a record is written with `:`", f"write `{s.before}: ...`"
        return SyntaxFault("E101", message, s.span, "expected `:`", help, remedy=_sign(s, ":"))
    if s.token == "=" and s.is_after_expression:
        same_line = (str(token) for token in s.tokens[: s.index] if token.line == s.token.line)
        is_condition = any(word in ("expect", "if", "and", "or", "not") for word in same_line)
        remedy = replacing(s.span, "=", "==", is_safe=is_condition)
        help = "write `==` to compare"
        if s.before == ")" and s.at(1) == "{":  # `loss = (x, y) = { ... return e }`
            message, remedy = "a lambda is written with `=>`", replacing(s.span, "=", "=>")
            return SyntaxFault("E101", message, s.span, "expected `=>`", "write `(x, y) => {`", remedy=remedy)
        return SyntaxFault("E101", "`=` binds a name", s.span, "not a comparison", help, remedy=remedy)
    if s.token.type in ("NUMBER", "QUANTITY") and s.at(1) == ":" and "NAME" in s.accepts:
        help = "a field has a name: write `{a: ..., b: ...}`, or a list of values, `[..., ...]`"
        return SyntaxFault("E101", "fields are no numbers", s.span, "expected a name", help)
    if s.token.type == "STRING" and s.at(1) == ":" and "NAME" in s.accepts:
        name = s.token[1:-1]
        help = f"write `{name}: ...`" if name.isidentifier() else "a field has a name, written without quotes"
        remedy = replacing(s.span, str(s.token), name) if name.isidentifier() else None
        return SyntaxFault("E101", "fields are written without quotes", s.span, "expected a name", help, remedy=remedy)
    return None


def _sign(s: Situation, sign: str) -> Remedy:
    """The sign with the spaces that belong around it."""
    gap = Span(span_of(s.before).end, s.span.end)
    is_spaced = s.text[s.span.end : s.span.end + 1].isspace()
    text = ("" if sign == ":" else " ") + sign + ("" if is_spaced else " ")
    return Remedy(f"replace `{s.token}` by `{sign}`", ((gap, text),))


def _is_index(s: Situation) -> bool:
    return bool(s.open_brackets) and str(s.tokens[s.open_brackets[-1]]) == "["


def spread_in_list(s: Situation) -> SyntaxFault | None:
    """`[...xs, 3]`, and `{[key]: 1}`."""
    inner = s.tokens[s.open_brackets[-1]] if s.open_brackets else None
    if s.token.type == "ELLIPSIS" and inner == "[" and s.wants_expression:
        help = "lists are joined by `+`: `xs + [3]`"
        return SyntaxFault("E101", "a list takes no `...`", s.span, "expected an expression", help)
    if s.token == "[" and inner == "{" and s.before in ("{", ",") and "NAME" in s.accepts:
        help = "the fields of a record are known before anything is computed; a list of records holds what varies"
        return SyntaxFault("E101", "the name of a field is not computed", s.span, "expected a name", help)
    return None


def pattern_in_comprehension(s: Situation) -> SyntaxFault | None:
    """`[w for {w, lr} in settings]`."""
    if s.before != "for" or s.token not in ("{", "(", "["):
        return None
    help = "name the element and take its fields: `[c.w for c in cs]`; for a list of records, `cs.w` is the list"
    return SyntaxFault("E101", "a comprehension binds one name", s.span, "expected a name", help)
