"""Terminals in human words: what was expected, and what came."""

from __future__ import annotations

from etude.grammar.situation import KEYWORDS, Situation

_SIGNS = {
    "EQUAL": "`=`",
    "COLON": "`:`",
    "COMMA": "`,`",
    "DOT": "`.`",
    "LPAR": "`(`",
    "LSQB": "`[`",
    "LBRACE": "`{`",
    "RPAR": "`)`",
    "RSQB": "`]`",
    "RBRACE": "`}`",
    "ARROW": "`=>`",
    "RETURNS": "`->`",
    "QMARK": "`?`",
}
_CONTINUATIONS = {"INFIX", "MINUS", "AND", "OR", "DOT", "LPAR", "LSQB", "ARROW"}
_KEYWORD_TERMINALS = {keyword.upper() for keyword in KEYWORDS}


def got(situation: Situation) -> str:
    """Name the refused token."""
    token = situation.token
    if situation.is_at_end:
        return "the end of the file"
    if token.type == "STRING" and len(token) > 20:
        return "a string"
    return f"`{token}`"


def expectation(situation: Situation) -> str:
    """Name what the parser would have taken, without listing every operator."""
    accepts = situation.accepts
    wanted = list(_whole_things(accepts))
    rest = accepts - _CONTINUATIONS if situation.is_after_expression else accepts
    if situation.wants_expression:
        rest = rest & {"RPAR", "RSQB", "RBRACE"}
    if not wanted or situation.is_after_expression:
        wanted += [sign for terminal, sign in _SIGNS.items() if terminal in rest]
        wanted += sorted(f"`{t.lower()}`" for t in rest & _KEYWORD_TERMINALS if not _is_any_keyword(accepts))
    return _either(wanted or ["an operator"])


def _whole_things(accepts: frozenset[str]) -> list[str]:
    if "NUMBER" in accepts:
        closers = [_SIGNS[t] for t in ("RPAR", "RSQB", "RBRACE") if t in accepts]
        return ["an expression", *closers]
    things = []
    if _is_top_level(accepts):
        things += ["an operator"] * ("INFIX" in accepts) + ["a new statement"]
    elif "RETURN" in accepts and "FN" in accepts and "AS" not in accepts:
        things += ["a binding", "`return`"]
    elif "NAME" in accepts:
        things.append("a name")
    if "STRING" in accepts:
        things.append("a string in double quotes")
    return things


def _is_top_level(accepts: frozenset[str]) -> bool:
    return {"EXPECT", "USE", "FN"} <= accepts and "AS" not in accepts


def _is_any_keyword(accepts: frozenset[str]) -> bool:
    """Whether keywords are taken as names here, or as starts of statements: they need no list."""
    return ("AS" in accepts and "THEN" in accepts) or _is_top_level(accepts) or {"RETURN", "FN"} <= accepts


def _either(things: list[str]) -> str:
    if len(things) < 2:
        return "".join(things)
    return ", ".join(things[:-1]) + " or " + things[-1]
