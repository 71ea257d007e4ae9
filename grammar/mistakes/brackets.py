"""Brackets that are not closed, closed twice, or closed by another kind."""

from __future__ import annotations

from etude.grammar.faults import SyntaxFault, inserting, removing, replacing
from etude.grammar.situation import CLOSERS, OPENERS, Situation, span_of


def unclosed(s: Situation, opener: int, index: int) -> SyntaxFault:
    """Say that the bracket at `opener` should be closed before the token at `index`."""
    bracket = s.tokens[opener]
    closer = OPENERS[bracket]
    place = "the end of the file" if s.tokens[index].type == "$END" else f"`{s.tokens[index]}`"
    before = span_of(s.tokens[index - 1]).end
    is_block = bracket == "{" and s.tokens[index - 1].line != bracket.line
    remedy = inserting(before, f"\n{closer}" if is_block else closer, is_safe=_lacks(s, bracket, closer))
    if s.token in CLOSERS and s.open_brackets == (opener,):  # the only one open is closed by another kind
        remedy = replacing(s.span, str(s.token), closer)
    return SyntaxFault(
        "E113",
        f"`{bracket}` is not closed: expected `{closer}` before {place}",
        span_of(s.tokens[index]),
        f"expected `{closer}` before this" if s.tokens[index].type != "$END" else f"expected `{closer}`",
        related=((span_of(bracket), "opened here"),),
        remedy=remedy,
    )


def _lacks(s: Situation, opener: str, closer: str) -> bool:
    """Whether the whole text opens more brackets of a kind than it closes."""
    return s.tokens.count(opener) > s.tokens.count(closer)


def closer_of(s: Situation, opener: int) -> int | None:
    """The index of the bracket that closes the one at `opener`; None where brackets cross or the text ends."""
    stack: list[str] = []
    for i in range(opener, len(s.tokens)):
        token = s.tokens[i]
        if token in OPENERS:
            stack.append(OPENERS[token])
        elif token in CLOSERS:
            if stack.pop() != token:
                return None
            if not stack:
                return i
    return None


def mismatched(s: Situation) -> SyntaxFault | None:
    """`(a]`, and a closing bracket too many."""
    if s.token not in CLOSERS:
        return None
    if not s.open_brackets:
        help = "remove it, or look for the bracket it should close"
        message, remedy = f"`{s.token}` closes nothing", removing(s.span, str(s.token), is_safe=False)
        return SyntaxFault("E113", message, s.span, "nothing is open here", help, remedy=remedy)
    opener = s.open_brackets[-1]
    if OPENERS[s.tokens[opener]] == s.token:
        return None
    if s.tokens.count(s.token) > s.tokens.count(CLOSERS[s.token]) and not _lacks(
        s, s.tokens[opener], OPENERS[s.tokens[opener]]
    ):
        return _closes_nothing(s, opener)
    dedent = first_dedent(s)
    return unclosed(s, *dedent) if dedent else unclosed(s, opener, s.index)


def _closes_nothing(s: Situation, opener: int) -> SyntaxFault:
    """A closing bracket of which there are too many, while one of another kind is open."""
    missing = CLOSERS[s.token]
    help = f"remove it, or write the `{missing}` that it should close"
    related = ((span_of(s.tokens[opener]), f"the `{s.tokens[opener]}` that is open"),)
    remedy = removing(s.span, str(s.token), is_safe=False)
    return SyntaxFault("E113", f"`{s.token}` closes nothing", s.span, f"no `{missing}` is open", help, related, remedy)


def never_closed(s: Situation) -> SyntaxFault | None:
    """The text ends while brackets are open."""
    if not s.is_at_end or not s.open_brackets:
        return None
    dedent = first_dedent(s)
    return unclosed(s, *dedent) if dedent else unclosed(s, s.open_brackets[-1], s.index)


def first_dedent(s: Situation) -> tuple[int, int] | None:
    """The innermost open bracket whose lines come to an end, and the token that begins the line after them.

    That is the first line which is indented no deeper than the one with the bracket, and does not begin by closing it.
    """
    for opener in reversed(s.open_brackets):
        indent = s.indent(opener)
        for i in range(opener + 1, s.index + 1):
            is_first = s.starts_line(i) and s.tokens[i].type != "$END"
            if is_first and s.indent(i) <= indent and s.tokens[i].line != s.tokens[opener].line:
                if s.tokens[i] in CLOSERS:
                    if s.open_at(i)[-1:] == (opener,) and CLOSERS[s.tokens[i]] != s.tokens[opener]:
                        return opener, i
                    continue
                if s.tokens[i].type not in ("INFIX", "AND", "OR", "LPAR", "LSQB", "LBRACE"):
                    return opener, i
    return None
