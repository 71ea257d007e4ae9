"""Walking over trees, generically: whatever is a field of a node and a node itself is a child."""

from __future__ import annotations

from collections.abc import Iterator

from etude.grammar.nodes import Node


def children(node: Node) -> Iterator[Node]:
    """The nodes directly below a node, in the order of the fields."""
    for name in node.__struct_fields__:
        yield from _nodes_in(getattr(node, name))


def descendants(node: Node) -> Iterator[Node]:
    """A node and all nodes below it, parents first."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        pending += children(current)


def _nodes_in(value: object) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes_in(item)
