"""Choices by measured values: `best`."""

from __future__ import annotations

from typing import Any

from etude.compiler import faults
from etude.compiler.arithmetic import deferred, expression
from etude.compiler.builtins.data import function_argument
from etude.compiler.builtins.reporting import compute
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.guards import select
from etude.compiler.typing import is_float
from etude.compiler.values import Deferred, describe


@builtin
def best(site: CallSite, xs: Any, *, by: Any, where: Any = None, lower: Any = False) -> Any:
    """The element with the highest score (with `lower`, the lowest); of equal ones the first.

    `where` says which elements may be chosen; the first is taken where none may.
    """
    if not isinstance(xs, list) or not xs:
        raise faults.wrong_kind(
            "'xs' of 'best'",
            "a list with something in it",
            "an empty list" if xs == [] else describe(xs),
            site.at("xs"),
        )
    if not isinstance(lower, bool):
        raise faults.wrong_kind("'lower' of 'best'", "true or false", describe(lower), site.at("lower"))
    scores = [_measured(site, "by", by, x) for x in xs]
    allowed = [None if where is None else _measured(site, "where", where, x, "bool") for x in xs]
    chosen, score, is_allowed = xs[0], scores[0], allowed[0]
    for x, its_score, its_allowed in zip(xs[1:], scores[1:], allowed[1:], strict=True):
        better = deferred("<" if lower else ">", its_score, score, site.location)
        if where is not None:
            # allowed, and better than the one before or the first that is allowed
            improves = Deferred(["or", better.expression, ["not", _text(is_allowed, site)]], "bool")
            better = Deferred(["and", _text(its_allowed, site), improves.expression], "bool")
        guard = compute(site, better)
        chosen, score = select(site, guard, x, chosen), select(site, guard, its_score, score)
        if where is not None:
            is_allowed = Deferred(["or", _text(is_allowed, site), _text(its_allowed, site)], "bool")
    return chosen


def _measured(site: CallSite, argument: str, function: Any, x: Any, kind: str = "number") -> Any:
    """What a function says of an element: a value known after the run, or a plain one."""
    call = function_argument(site, function, argument)
    found = site.evaluator.call(call, [x], {}, site.at(argument))
    is_plain = isinstance(found, bool) if kind == "bool" else is_float(found)
    if not is_plain and not (isinstance(found, Deferred) and found.kind == kind):
        expected = "a comparison" if kind == "bool" else "a measured number"
        raise faults.wrong_kind(f"'{argument}' of 'best'", expected, describe(found), site.at(argument))
    return found


def _text(value: Any, site: CallSite) -> Any:
    return expression(value, site.location)
