"""Params: what `--set` or a default gives them, of the type and among the values that they declare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etude.compiler import faults
from etude.compiler.arithmetic import is_number
from etude.compiler.diagnostics import Location, RecipeError, Source
from etude.compiler.scopes import Scope
from etude.compiler.typing import check_type, expected_text, found_text, matches
from etude.compiler.values import Quantity, Range, describe
from etude.grammar import nodes

if TYPE_CHECKING:
    from etude.compiler.elaborate import Evaluator

SETTABLE = {"int", "float", "bool", "string", "fraction", "duration", "bytes", "list"}
"""What can be written down behind `--set`."""


def param_value(evaluator: Evaluator, node: nodes.Param, scope: Scope, override: str | None) -> Any:
    """The value of a param; `override` is the text that it was set to from outside."""
    where = Location(scope.source, node.name_span)
    _check_settable(node.type, scope)
    if override is not None:
        value = _parsed(evaluator, node, override, scope, where)
    elif node.default is None:
        raise faults.param_value(node.name, f"it has no default; give it with --set {node.name}=...", where)
    else:
        value = evaluator.evaluate(node.default, scope)
        where = Location(scope.source, node.default.span)
    if not matches(value, node.type):
        text = f"expected {expected_text(node.type)}, got {found_text(value, node.type)}"
        raise faults.param_value(node.name, text, where)
    if node.range is not None:
        _check_allowed(evaluator, node, value, scope, where)
    return value


def _check_settable(type: nodes.TypeNode, scope: Scope) -> None:
    check_type(type, scope)
    inner = type
    while isinstance(inner, nodes.NamedType) and inner.name == "list" and inner.arguments:
        inner = inner.arguments[0]
    if isinstance(inner, nodes.RecordType) or inner.name not in SETTABLE:
        expected = f"one of {', '.join(sorted(SETTABLE))}"
        what = "a record" if isinstance(inner, nodes.RecordType) else inner.name
        help = "only what --set can write is a param; bind anything else by name = ..."
        raise faults.wrong_kind("the type of a param", expected, what, Location(scope.source, type.span), help)


def _check_allowed(evaluator: Evaluator, node: nodes.Param, value: Any, scope: Scope, where: Location) -> None:
    assert node.range is not None
    allowed = evaluator.evaluate(node.range, scope)
    place = Location(scope.source, node.range.span)
    if isinstance(allowed, list):
        _check_listed(node.name, allowed, value, where)
        return
    if not isinstance(allowed, Range):
        raise faults.wrong_kind("'in'", "a range a..b, or a list of values", describe(allowed), place)
    low, high, got = (v.value if isinstance(v, Quantity) else v for v in (allowed.start, allowed.stop, value))
    units = {v.unit if isinstance(v, Quantity) else None for v in (allowed.start, allowed.stop, value)}
    if not (is_number(low) and is_number(high) and is_number(got)) or len(units) > 1:
        raise faults.wrong_unit("in", describe(value), describe(allowed.start), where)
    if not low <= got <= high:
        raise faults.param_value(node.name, f"{value} is not in {allowed.start}..{allowed.stop}", where)


def _check_listed(name: str, allowed: list[Any], value: Any, where: Location) -> None:
    if any(type(each) is type(value) and each == value for each in allowed):
        return
    from difflib import get_close_matches  # only where there is a mistake

    shown = [_written(each) for each in allowed]
    close = get_close_matches(_written(value), shown, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    raise faults.param_value(name, f"{_written(value)} is not one of {', '.join(shown)}{meant}", where)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _parsed(evaluator: Evaluator, node: nodes.Param, text: str, scope: Scope, where: Location) -> Any:
    """What was written behind `--set name=`: an expression; a word that names nothing is a string."""
    from etude.grammar.faults import SyntaxFault
    from etude.grammar.parser import parse

    name = node.name
    try:
        (statement,) = parse(f"{name} = {text}").statements
        assert isinstance(statement, nodes.Binding)
    except (SyntaxFault, ValueError, AssertionError):
        raise faults.param_value(name, f"cannot read the value '{text}'", where) from None
    inner = Scope(Source(f"--set {name}={text}", f"{name} = {text}"), scope)
    try:
        return evaluator.evaluate(statement.value, inner)
    except RecipeError as error:
        if isinstance(statement.value, nodes.Name):
            return text
        raise faults.param_value(name, error.diagnostic.message, where) from None
