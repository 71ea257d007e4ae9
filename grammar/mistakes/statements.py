"""Statements that are none, and bodies without their end."""

from __future__ import annotations

from etude.grammar.faults import SyntaxFault, inserting, removing
from etude.grammar.mistakes.brackets import closer_of, first_dedent, unclosed
from etude.grammar.nodes import Span
from etude.grammar.situation import TOP_LEVEL, Situation, span_of
from etude.grammar.words import got


def unclosed_before_statement(s: Situation) -> SyntaxFault | None:
    """A new statement begins at the left while a bracket is open: the bracket is the mistake."""
    starts = [i for i in (s.index, s.index - 1) if i >= 0 and _starts_at_left(s, i)]
    if not starts or not s.open_brackets:
        return None
    dedent = first_dedent(s)
    if dedent is None or _is_closed_on_a_line_of_its_own(s, dedent[0]):
        return None
    return unclosed(s, *dedent)


def _is_closed_on_a_line_of_its_own(s: Situation, opener: int) -> bool:
    """Whether what stands in brackets is merely not indented."""
    closer = closer_of(s, opener)
    return closer is not None and s.starts_line(closer) and s.indent(closer) <= s.indent(opener)


def _starts_at_left(s: Situation, index: int) -> bool:
    token = s.tokens[index]
    return s.starts_line(index) and (token.type == "NAME" or token in (*TOP_LEVEL, "fn", "return"))


_OPEN_ENDED = ("INFIX", "MINUS", "AND", "OR", "NOT", "EQUAL", "ARROW", "IF", "THEN", "ELSE", "IN", "EXPECT", "RETURN")


def unfinished(s: Situation) -> SyntaxFault | None:
    """A statement that ends with an operator, or with `=`, before the next one begins: `a = 1 +`, `b = 2`."""
    is_word = s.wants_expression and (s.token in (*TOP_LEVEL, "fn") or s.is_at_end) and s.at(1).type != "EQUAL"
    is_binding = s.token == "=" and s.is_after_expression and s.before.type == "NAME"
    last = s.index - (1 if is_word else 2)
    is_next = is_binding and s.starts_line(s.index - 1)  # also in brackets: `lr =`, and the next entry
    if (
        not (is_word or is_binding)
        or (s.open_brackets and not is_next)
        or last < 0
        or not (s.is_at_end or s.starts_line(last + 1))
    ):
        return None
    if s.tokens[last].type not in _OPEN_ENDED:
        return None
    help = "the statement breaks off here" if s.is_at_end else "the next line begins a new statement"
    end = s.tokens[last]
    return SyntaxFault(
        "E101", f"expected an expression after `{end}`", span_of(end), "expected an expression after it", help
    )


def missing_return(s: Situation) -> SyntaxFault | None:
    """A body that ends without `return`, or with a bare expression."""
    opener = s.tokens[s.open_brackets[-1]] if s.open_brackets else None
    if opener != "{":
        return None
    related = ((span_of(opener), "the body begins here"),)
    if s.token == "}" and "RETURN" in s.accepts and "RBRACE" not in s.accepts:
        help = "end the body with `return ...`"
        return SyntaxFault("E111", "this body ends without `return`", s.span, "expected `return`", help, related)
    if _is_bare_expression(s):
        help = f"write `return {s.before} ...`, or give the value a name"
        message, place = "an expression in a body needs `return`", span_of(s.before)
        rest = s.tokens[s.index : closer_of(s, s.open_brackets[-1])]
        remedy = inserting(place.start, "return ", is_safe="return" not in rest)
        return SyntaxFault("E111", message, place, "expected `return`", help, related, remedy)
    return None


def body_after_equals(s: Situation) -> SyntaxFault | None:
    """`fn f(x) = { y = ... return y }`, `fn f(x) = { max(x, 1) }`: braces after `=` are a record."""
    opener = s.open_brackets[-1] if s.open_brackets else -1
    if s.index != opener + 2 or s.tokens[opener] != "{" or s.tokens[opener - 1] != "=" or s.token in (":", ",", "}"):
        return None
    sign, line = s.tokens[opener - 1], s.tokens[opener].line
    if next(token for token in s.tokens if token.line == line) not in ("fn", "model"):
        return None
    if _returns(s, opener):
        message, help = "a body has no `=` before it", "write the head and then `{ ... return ... }`"
        place = span_of(sign)
        is_spaced = s.text[place.end : place.end + 1] == " "
        remedy = removing(Span(place.start, place.end + is_spaced), "=")
        return SyntaxFault("E101", message, place, "not here", help, remedy=remedy)
    if s.token == "=":
        return None
    help = "write `fn f(x) = ...` without braces, or a body, `fn f(x) { return ... }`"
    message, label = "braces after `=` are a record", "a record begins here"
    return SyntaxFault("E101", message, span_of(s.tokens[opener]), label, help)


def _returns(s: Situation, opener: int) -> bool:
    """Whether `return` stands in a pair of braces, and in no inner ones."""
    depth = 0
    for token in s.tokens[opener:]:
        depth += (token in ("{", "(", "[")) - (token in ("}", ")", "]"))
        if depth == 0:
            return False
        if depth == 1 and token == "return":
            return True
    return False


def _is_bare_expression(s: Situation) -> bool:
    """Whether a name in a body goes on as an expression: `{ x + 1 }`, `{ y = x  f(y) }`."""
    if s.token.type not in ("INFIX", "MINUS", "LPAR", "DOT", "LSQB", "AND", "OR") or s.before.type != "NAME":
        return False
    is_first = s.index - 1 == s.open_brackets[-1] + 1
    return (is_first and {"COLON", "EQUAL"} <= s.accepts) or (s.is_after_first_name and _is_body(s))


def _is_body(s: Situation) -> bool:
    """Whether the innermost brace belongs to a body: it follows `=>`, or the head of a `fn`, a `model` or a `loop`."""
    opener = s.open_brackets[-1]
    before = s.tokens[opener - 1]
    if before.type == "ARROW":
        return True
    line = [str(token) for token in s.tokens[:opener] if token.line == s.tokens[opener].line]
    return (bool({"fn", "model", "loop"} & set(line)) and before in (")", "]", "?", "}")) or before.type == "NAME"


def no_statement(s: Situation) -> SyntaxFault | None:
    """An expression where a statement should be: `f(x)`, `a |> b()`, `1 + 2`, `a, b = f()`."""
    if s.is_after_first_name:
        if s.token == ",":
            help = "bind each name by itself; a record holds several values: `r = f()`, then `r.a`"
            return SyntaxFault("E114", "a binding has one name", s.span, "expected `=`", help)
        is_alone = s.token.line != s.before.line or s.is_at_end
        if is_alone and not s.starts_line(s.index - 1):
            label = "expected an operator or a new statement"
            return SyntaxFault("E101", f"`{s.before}` continues nothing", span_of(s.before), label)
        if is_alone:
            help = f"write `{s.before} = ...`, or remove it"
            return SyntaxFault("E101", "a name alone is not a statement", span_of(s.before), "expected `=`", help)
        if s.token.type in ("LPAR", "LSQB", "DOT", "INFIX", "MINUS"):
            help = "give the value a name: `name = ...`"
            return SyntaxFault("E101", "an expression is not a statement", span_of(s.before), "expected `name =`", help)
    elif _is_at_statement(s) and s.token.type in _EXPRESSION_STARTS:
        help = "give the value a name: `name = ...`"
        return SyntaxFault("E101", "an expression is not a statement", s.span, "expected a statement", help)
    return None


_EXPRESSION_STARTS = ("NUMBER", "QUANTITY", "STRING", "LPAR", "LSQB", "TRUE", "FALSE", "NOT", "MINUS", "LOOP")


def _is_at_statement(s: Situation) -> bool:
    return (
        not (s.open_brackets or s.is_after_expression or s.wants_expression)
        and "EXPECT" in s.accepts
        and not {"THEN", "EQUAL"} & s.accepts
    )


def header(s: Situation) -> SyntaxFault | None:
    """The heads of `fn`, `model`, `use`, `report`, `loop`."""
    accepts = s.accepts
    if {"EQUAL", "LBRACE"} <= accepts and not s.is_after_expression:
        label = "expected `=` or `{`"
        help = "write `fn f(x) = ...` or `fn f(x) { ... return ... }`"
        message = f"the body of a `fn` does not come after `{s.token}`"
        if s.token.type not in ("COLON", "ARROW"):
            message = f"expected the body of the `fn`, got {got(s)}"
        return SyntaxFault("E101", message, s.span, label, help)
    if accepts == {"COLON"} and s.at(-2) == "param":
        help = f"write the type, `param {s.before}: float = ...`"
        return SyntaxFault("E101", "a `param` has a type", s.span, "expected `:`", help)
    if accepts == {"LPAR"} and s.token == "{":
        help = "the first list is the configuration, the second the inputs: `model f(width: int)(x) { ... }`"
        return SyntaxFault("E101", "a `model` has two lists of parameters", s.span, "expected `(`", help)
    if s.before == "report":
        help = "write `report { name = ... }`"
        return SyntaxFault("E101", "a report is a block", s.span, "expected `{`", help)
    if s.token == "in" and s.is_after_first_name:
        help = "a loop begins with what it carries: `loop (acc = start, x in xs) { ... return acc }`"
        return SyntaxFault("E101", "a loop carries a value", s.span, "expected `=`", help)
    if s.token == "," and "AS" in accepts and "DOT" in accepts and not s.is_after_expression:
        return SyntaxFault("E101", "a `use` opens one module", s.span, "no comma here", "write one `use` for each")
    return None


def after_return(s: Situation) -> SyntaxFault | None:
    """A binding after the `return` of a body."""
    is_in_body = bool(s.open_brackets) and s.tokens[s.open_brackets[-1]] == "{" and _is_body(s)
    starts = s.token.type in ("NAME", "FN", "RETURN")
    if is_in_body and starts and s.is_after_expression and "RBRACE" in s.accepts and "NAME" not in s.accepts:
        help = "move it above the `return`"
        return SyntaxFault("E101", "`return` is the last thing of a body", s.span, "expected `}`", help)
    return None
