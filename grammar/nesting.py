"""Limits of nesting, so that whoever walks a tree may do it by recursion."""

from __future__ import annotations

import gc
import re

from etude.grammar import nodes as n
from etude.grammar.faults import SyntaxFault
from etude.grammar.nodes import Span

MAX_BRACKETS = 100
MAX_DEPTH = 200
"""Of the tree; a tuple of nodes counts as a level of its own."""

_BRACKETS = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|#[^\n]*|([(\[{])|([)\]}])')
_PARTS = {tuple, *n.Node.__subclasses__()}  # no kind of node is one of another
_HELP = "give the inner parts names of their own"


def refuse_deep_brackets(text: str) -> None:
    """Refuse more than `MAX_BRACKETS` brackets inside each other, before anything is built."""
    depth = 0
    for match in _BRACKETS.finditer(text):
        group = match.lastindex
        if group == 1:
            depth += 1
            if depth > MAX_BRACKETS:
                message = f"brackets are nested more than {MAX_BRACKETS} deep"
                raise SyntaxFault("E110", message, Span(*match.span()), "one too many", _HELP)
        elif group == 2:
            depth = max(0, depth - 1)


def refuse_deep_tree(program: n.Program) -> None:
    """Refuse chains such as `1 + 1 + ...` or `f()()()...` that make a tree deeper than `MAX_DEPTH`."""
    level: list[object] = [program]
    deepest: n.Node = program
    for _ in range(MAX_DEPTH):
        # The collector knows the children of all nodes of a level in one call: a walk by fields takes ten times longer.
        level = [child for child in gc.get_referents(*level) if type(child) in _PARTS]
        if not level:
            return
        deepest = next((node for node in level if isinstance(node, n.Node)), deepest)
    raise SyntaxFault(
        "E110", f"this expression is nested more than {MAX_DEPTH} deep", deepest.span, "too deep here", _HELP
    )
