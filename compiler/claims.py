"""What a claim shows beside its verdict: the parts of its expression that were measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etude.compiler.arithmetic import expression
from etude.compiler.diagnostics import Location
from etude.compiler.scopes import Scope
from etude.compiler.values import Deferred
from etude.grammar import nodes

if TYPE_CHECKING:
    from etude.compiler.elaborate import Evaluator

COMPARISONS = {"<", "<=", ">", ">=", "==", "!=", "and", "or"}


def claim_parts(evaluator: Evaluator, node: nodes.Expr, scope: Scope) -> list[tuple[str, Any]]:
    """(text, expression) of each side of a comparison and each list of `better`, measured ones only."""
    parts: list[tuple[str, Any]] = []
    for part in _sides(node):
        value = evaluator.evaluate(part, scope)
        is_list = isinstance(value, list) and any(isinstance(item, Deferred) for item in value)
        if isinstance(value, Deferred) or is_list:
            text = " ".join(scope.source.text[part.span.start : part.span.end].split())
            parts.append((text, expression(value, Location(scope.source, part.span))))
    return parts


def _sides(node: nodes.Expr) -> list[nodes.Expr]:
    if isinstance(node, nodes.Binary) and node.operator in COMPARISONS:
        return [*_sides(node.left), *_sides(node.right)]
    if isinstance(node, nodes.Unary) and node.operator == "not":
        return _sides(node.operand)
    if isinstance(node, nodes.Call) and isinstance(node.callee, nodes.Name) and node.callee.name == "better":
        return [argument.value for argument in node.arguments if argument.name is None]
    return [node]
