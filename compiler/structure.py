"""The structure of a constructor: a hash of its code with bound names erased, and of all that its code mentions."""

from __future__ import annotations

import hashlib
from typing import Any

from etude.backends.program.dims import Size
from etude.compiler.scopes import Lazy, Scope
from etude.compiler.values import (
    Builtin,
    Chain,
    Closure,
    Instance,
    Model,
    ModelClass,
    OperationValue,
    Quantity,
    Range,
    Record,
    Replaced,
    Setting,
    Wrapper,
)
from etude.grammar import nodes

PLAIN = {type(None), bool, int, float, str}
SKIPPED = {"span", "name_span", "doc", "type", "returns", "text"}


def digest(value: Any) -> str:
    """A short stable hash of nested tuples of plain values."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:32]


def instance_structure(definition: ModelClass, configuration: dict[str, Any]) -> str:
    """The structure of one evaluation of a constructor."""
    return digest((structure_of(definition), tuple(structure_of(v) for v in configuration.values())))


def structure_of(value: Any) -> Any:
    """What `value` is, as nested tuples of plain values, equal for equal meaning."""
    kind = type(value)
    if kind in PLAIN:  # most values: the search below takes ten times longer
        return (kind.__name__, value)
    if isinstance(value, Lazy):
        return structure_of(value.force())
    if isinstance(value, ModelClass):
        return value.__dict__.get("_structure") or _definition(value)
    if isinstance(value, Closure):
        return ("fn", _code(value.parameters, value.body, value.scope))
    if isinstance(value, Builtin | OperationValue):
        return ("builtin", value.name)
    if isinstance(value, Model):
        return _model(value)
    if isinstance(value, Setting | Quantity | Range | Size):
        return (type(value).__name__, *(structure_of(getattr(value, name)) for name in value.__struct_fields__))
    if isinstance(value, dict | Record):
        return ("record", *((k, structure_of(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return ("list", *(structure_of(item) for item in value))
    return (kind.__name__,)


def _definition(value: ModelClass) -> Any:
    """The structure of a model's code, computed once: what its names stand for never changes."""
    parameters = (*value.node.configuration, *value.node.inputs)
    value.__dict__["_structure"] = ("itself",)  # where the code mentions its own name: refused when it is called
    found = ("model", digest(_code(parameters, value.node.body, value.scope)))
    value.__dict__["_structure"] = found
    return found


def _model(model: Model) -> Any:
    if isinstance(model, Instance):
        return ("instance", model.structure, model.seed)
    if isinstance(model, Chain):
        return ("chain", *(structure_of(part) for part in model.parts))
    if isinstance(model, Replaced):
        change = model.replacement
        return ("replaced", _model(model.base), tuple(map(_model, change.models.values())))
    assert isinstance(model, Wrapper)
    return _model(model.base)  # what has become of its weights is no part of what it is


def _code(parameters: tuple[Any, ...], body: Any, scope: Scope) -> Any:
    bound: dict[str, int] = {}
    defaults = tuple(_walk(p.default, bound, scope) for p in parameters if isinstance(p, nodes.Parameter) and p.default)
    for parameter in parameters:
        _bind(parameter, bound)
    return (len(bound), defaults, _pattern(parameters), _walk(body, bound, scope))


def _pattern(parameters: tuple[Any, ...]) -> Any:
    return tuple(
        tuple(f.field for f in p.fields) if isinstance(p, nodes.RecordPattern) else type(p).__name__ for p in parameters
    )


def _bind(pattern: Any, bound: dict[str, int]) -> None:
    names = [f.name for f in pattern.fields] if isinstance(pattern, nodes.RecordPattern) else [pattern.name]
    for name in names:
        bound[name] = len(bound)


_PARTS: dict[Any, tuple[str, ...] | None] = {}


def _parts(kind: Any) -> tuple[str, ...] | None:
    """The fields of a kind of node that say what the code does; None for what is no node."""
    if kind not in _PARTS:
        is_node = issubclass(kind, nodes.Node)
        _PARTS[kind] = tuple(name for name in kind.__struct_fields__ if name not in SKIPPED) if is_node else None
    return _PARTS[kind]


def _walk(node: Any, bound: dict[str, int], scope: Scope) -> Any:
    """The code below `node`; names bound in it become numbers, free names what they stand for."""
    kind = type(node)
    if kind is nodes.Name:
        return ("bound", bound[node.name]) if node.name in bound else ("free", structure_of(scope.find(node.name)))
    if kind is tuple:
        return tuple([_walk(item, bound, scope) for item in node])
    if kind is nodes.Body:
        return _walk_body(node, dict(bound), scope)
    if kind is nodes.Lambda:
        inner = dict(bound)
        for pattern in node.parameters:
            _bind(pattern, inner)
        return ("lambda", _pattern(node.parameters), _walk(node.body, inner, scope))
    if kind is nodes.Comprehension:
        return _walk_comprehension(node, dict(bound), scope)
    if kind is nodes.Loop:
        return _walk_loop(node, bound, scope)
    names = _parts(kind)
    if names is None:
        return node
    return (kind.__name__, *(_walk(getattr(node, name), bound, scope) for name in names))


def _walk_body(body: nodes.Body, bound: dict[str, int], scope: Scope) -> Any:
    parts = []
    for statement in body.statements:
        if isinstance(statement, nodes.Binding):
            parts.append(_walk(statement.value, bound, scope))
            bound[statement.name] = len(bound)
        else:
            inner = dict(bound)
            for parameter in statement.parameters:
                _bind(parameter, inner)
            parts.append(("fn", _pattern(statement.parameters), _walk(statement.body, inner, scope)))
            bound[statement.name] = len(bound)
    return ("body", *parts, _walk(body.result, bound, scope))


def _walk_comprehension(node: nodes.Comprehension, bound: dict[str, int], scope: Scope) -> Any:
    parts = []
    for clause in node.clauses:
        parts.append(_walk(clause.iterable, bound, scope))
        bound[clause.name] = len(bound)
    return ("for", *parts, _walk(node.condition, bound, scope), _walk(node.element, bound, scope))


def _walk_loop(node: nodes.Loop, bound: dict[str, int], scope: Scope) -> Any:
    inner = dict(bound)
    start, iterable = _walk(node.start, bound, scope), _walk(node.iterable, bound, scope)
    for name in (node.carry, node.variable):
        if name is not None:
            inner[name] = len(inner)
    return ("loop", start, iterable, _walk(node.condition, inner, scope), _walk(node.body, inner, scope))
