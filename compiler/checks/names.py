"""Check that every name in code that may never be evaluated (bodies of functions and models) means something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from etude.compiler import faults
from etude.compiler.diagnostics import Diagnostic, Location, RecipeError
from etude.compiler.scopes import MISSING, Scope
from etude.compiler.typing import check_type
from etude.grammar import nodes

_PARTS: dict[Any, tuple[str, ...]] = {}


def parts_of(kind: Any) -> tuple[str, ...]:
    """The fields of a kind of node that can hold other nodes; none for what is no node."""
    if kind not in _PARTS:
        found = kind.__annotations__.items() if issubclass(kind, nodes.Node) else ()
        _PARTS[kind] = tuple(name for name, type in found if name != "name_span" and type not in {"str", "bool"})
    return _PARTS[kind]


def names_in(node: Any) -> set[str]:
    """All names used anywhere below a node."""
    if type(node) is nodes.Name:
        return {node.name}
    inner = node if type(node) is tuple else [getattr(node, name) for name in parts_of(type(node))]
    return {name for item in inner for name in names_in(item)}


def check_names(program: nodes.Program, scope: Scope) -> Iterator[Diagnostic]:
    """An unknown name is an error even where no evaluation would come upon it."""
    for statement in program.statements:
        code: Any = statement
        if isinstance(statement, nodes.Assume) and isinstance(statement.claim, nodes.Call):
            code = statement.claim.arguments  # what is assumed is no function
        for error in _walk(code, frozenset(), scope):
            yield error.diagnostic


def _unknown(node: nodes.Name, bound: frozenset[str], scope: Scope) -> Iterator[Any]:
    if node.name not in bound and scope.find(node.name) is MISSING:
        yield faults.unknown_name(node.name, Location(scope.source, node.span), [*bound, *scope.visible()])


def _walk(node: Any, bound: frozenset[str], scope: Scope) -> Iterator[Any]:
    kind = type(node)
    if kind is tuple:
        for item in node:
            yield from _walk(item, bound, scope)
    elif kind in WALKS:
        yield from WALKS[kind](node, bound, scope)
    else:
        for name in parts_of(kind):
            yield from _walk(getattr(node, name), bound, scope)


def _fn(node: nodes.Fn, bound: frozenset[str], scope: Scope) -> Iterator[Any]:
    yield from _walk(node.returns, bound, scope)
    yield from _function(node.parameters, node.body, bound, scope)


def _model(node: nodes.ModelDef, bound: frozenset[str], scope: Scope) -> Iterator[Any]:
    yield from _function((*node.configuration, *node.inputs), node.body, bound, scope)


def _lambda(node: nodes.Lambda, bound: frozenset[str], scope: Scope) -> Iterator[Any]:
    yield from _walk(node.body, bound | _bound_by(node.parameters), scope)


def _comprehension(node: nodes.Comprehension, bound: frozenset[str], scope: Scope) -> Iterator[Any]:
    for clause in node.clauses:
        yield from _walk(clause.iterable, bound, scope)
        bound = bound | {clause.name}
    yield from _walk((node.element, node.condition), bound, scope)


def _loop(node: nodes.Loop, bound: frozenset[str], scope: Scope) -> Iterator[Any]:
    yield from _walk((node.start, node.iterable), bound, scope)
    names = {name for name in (node.carry, node.variable) if name is not None}
    yield from _walk((node.condition, node.body), bound | names, scope)


def _type(node: nodes.TypeNode, bound: frozenset[str], scope: Scope) -> Iterator[Any]:
    try:
        check_type(node, scope)
    except RecipeError as error:
        yield error


def _function(parameters: tuple[nodes.Parameter, ...], body: Any, bound: frozenset[str], scope: Scope) -> Iterator[Any]:
    for parameter in parameters:
        yield from _walk((parameter.type, parameter.default), bound, scope)
        bound = bound | {parameter.name}
    yield from _walk(body, bound, scope)


def _body(body: nodes.Body, bound: frozenset[str], scope: Scope) -> Iterator[Any]:
    for statement in body.statements:
        value = statement.value if isinstance(statement, nodes.Binding) else statement
        yield from _walk(value, bound, scope)
        bound = bound | {statement.name}
    yield from _walk(body.result, bound, scope)


def _bound_by(patterns: tuple[nodes.Pattern, ...]) -> frozenset[str]:
    names: set[str] = set()
    for pattern in patterns:
        names |= {f.name for f in pattern.fields} if isinstance(pattern, nodes.RecordPattern) else {pattern.name}
    return frozenset(names)


WALKS: dict[type, Callable[[Any, frozenset[str], Scope], Iterator[Any]]] = {
    nodes.Name: _unknown,
    nodes.Fn: _fn,
    nodes.ModelDef: _model,
    nodes.Lambda: _lambda,
    nodes.Body: _body,
    nodes.Comprehension: _comprehension,
    nodes.Loop: _loop,
    nodes.NamedType: _type,
    nodes.RecordType: _type,
}
