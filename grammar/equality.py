"""Comparison of trees without regard to where they stand in a text."""

from __future__ import annotations

from etude.grammar.nodes import Node, Span


def same_tree(a: object, b: object) -> bool:
    """Compare two trees of nodes, tuples and plain values, leaving out every field that holds a `Span`.

    >>> from etude.grammar.parser import parse
    >>> same_tree(parse("x = 1"), parse("x  =  1"))
    True
    """
    return first_difference(a, b) is None


def first_difference(a: object, b: object, path: str = "") -> str | None:
    """Name the first place where two trees differ, or give None; depth does not make this recurse."""
    pending = [(a, b, path)]
    while pending:
        a, b, path = pending.pop()
        if isinstance(a, Span) and isinstance(b, Span):
            continue
        if type(a) is not type(b):
            return f"{path}: {type(a).__name__} and {type(b).__name__}"
        if isinstance(a, tuple) and isinstance(b, tuple):
            if len(a) != len(b):
                return f"{path}: {len(a)} items and {len(b)}"
            pending += [(x, y, f"{path}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True))]
        elif isinstance(a, Node):
            pending += [(getattr(a, name), getattr(b, name), f"{path}.{name}") for name in a.__struct_fields__]
        elif a != b:
            return f"{path}: {a!r} and {b!r}"
    return None
