"""Choices by measured values: `best`, `when`, `pareto`."""

from __future__ import annotations

from typing import Any

from etude.compiler import faults
from etude.compiler.arithmetic import deferred, expression
from etude.compiler.builtins.data import add_stage, function_argument
from etude.compiler.builtins.reporting import compute
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.diagnostics import Location
from etude.compiler.guards import guard_of, held_back, select
from etude.compiler.measured import as_number
from etude.compiler.typing import is_float, is_function
from etude.compiler.values import Closure, Deferred, Record, describe
from etude.compiler.workflow import Ref

NONE_ALLOWED = "'where' holds for none of the {count} elements that 'best' chooses from"


@builtin
def best(site: CallSite, xs: Any, *, by: Any, where: Any = None, lower: Any = False) -> Any:
    """The element with the highest score (with `lower`, the lowest); of equal ones the first.

    `where` says which elements may be chosen; where none may, the run fails.
    """
    items = _elements(site, xs)
    _check_alike(site, items)
    if not isinstance(lower, bool):
        raise faults.wrong_kind("'lower' of 'best'", "true or false", describe(lower), site.at("lower"))
    scores = [_measured(site, "by", by, x) for x in items]
    if where is None:
        return _best(site, items, scores, [None] * len(items), lower=lower)
    allowed = [_measured(site, "where", where, x, "bool") for x in items]
    required = _requirement(site, allowed)
    chosen = _best(site, [held_back(site, required, items[0]), *items[1:]], scores, allowed, lower=lower)
    return select(site, required, chosen, chosen, is_forced=True)


def _best(site: CallSite, items: list[Any], scores: list[Any], allowed: list[Any], *, lower: bool) -> Any:
    chosen, score, is_allowed = items[0], scores[0], allowed[0]
    for x, its_score, its_allowed in zip(items[1:], scores[1:], allowed[1:], strict=True):
        better = deferred("<" if lower else ">", its_score, score, site.location)
        if its_allowed is not None:
            # allowed, and better than the one before or the first that is allowed
            improves = Deferred(["or", better.expression, ["not", _text(is_allowed, site)]], "bool")
            better = Deferred(["and", _text(its_allowed, site), improves.expression], "bool")
        guard = compute(site, better)
        site.session.memo.setdefault("chosen", set()).add(guard.stage)  # also where only numbers are chosen by it
        chosen, score = select(site, guard, x, chosen), select(site, guard, its_score, score)
        if its_allowed is not None:
            is_allowed = Deferred(["or", _text(is_allowed, site), _text(its_allowed, site)], "bool")
    return chosen


def _requirement(site: CallSite, allowed: list[Any]) -> Ref:
    """A stage that fails where no element may be chosen: what is chosen waits for it."""
    message = NONE_ALLOWED.format(count=len(allowed))
    if all(each is False for each in allowed):
        raise faults.wrong_value(message, site.at("where"))
    condition = compute(site, Deferred(["any", ["list", [_text(each, site) for each in allowed]]], "bool"))
    return Ref(add_stage(site, "require", {"message": message}, [condition], {"value": "Metric"}), "value")


def _elements(site: CallSite, xs: Any) -> list[Any]:
    if not isinstance(xs, list) or not xs:
        expected, got = "a list with something in it", "an empty list" if xs == [] else describe(xs)
        raise faults.wrong_kind(f"'xs' of '{site.name}'", expected, got, site.at("xs"))
    return xs


def _check_alike(site: CallSite, items: list[Any]) -> None:
    """All elements must have the form of the first; the fault is shown where the other one stands."""
    for index, item in enumerate(items[1:], 1):
        difference = _difference(items[0], item, "")
        if difference is not None:
            path, expected, got = difference
            what = f"element {index} of what '{site.name}' chooses from" + (f", its field '{path}'" if path else "")
            raise faults.wrong_kind(what, f"{expected}, as in the first", got, _place(site, index))


def _difference(first: Any, other: Any, path: str) -> tuple[str, str, str] | None:
    """Where the forms of two values differ: the path of the field, what is there in the first, and in the other."""
    if isinstance(first, Record) and isinstance(other, Record):
        if list(first) != list(other):
            return path, f"a record of {', '.join(first)}", f"one of {', '.join(other)}"
        found = (_difference(first[name], other[name], f"{path}.{name}".lstrip(".")) for name in first)
        return next((each for each in found if each is not None), None)
    expected, got = _form(first), _form(other)
    return None if expected == got else (path, expected, got)


def _form(value: Any) -> str:
    if isinstance(value, Deferred):
        return {"bool": "a bool", "text": "a string"}.get(value.kind, "a number")
    if isinstance(value, bool):
        return "a bool"
    return "a number" if isinstance(value, int | float) else describe(value)


def _place(site: CallSite, index: int) -> Location:
    """Where an element stands, if the list is written out in the call."""
    at = site.at("xs")
    places = site.session.memo.get(("elements", (at.source.name, at.span)), ())
    return places[index] if index < len(places) else site.at("xs")


def _measured(site: CallSite, argument: str, function: Any, x: Any, kind: str = "number") -> Any:
    """What a function says of an element: a value known after the run, or a plain one."""
    call = function_argument(site, function, argument)
    found = as_number(site, site.evaluator.call(call, [x], {}, site.at(argument)))
    is_plain = isinstance(found, bool) if kind == "bool" else is_float(found)
    if not is_plain and not (isinstance(found, Deferred) and found.kind == kind):
        expected = "a comparison" if kind == "bool" else "a measured number"
        raise faults.wrong_kind(f"'{argument}' of '{site.name}'", expected, describe(found), site.at(argument))
    return found


def _text(value: Any, site: CallSite) -> Any:
    return expression(value, site.location)


@builtin
def pareto(site: CallSite, xs: Any, *, by: Any) -> list[Record]:
    """The elements, each with `front`: whether no other is as good by every score and better by one.

    `by` is a list of functions, of which higher is better. Elements that are no records become `{value, front}`.
    """
    items = _elements(site, xs)
    if not isinstance(by, list) or not by or not all(is_function(each) for each in by):
        raise faults.wrong_kind("'by' of 'pareto'", "a list of functions", describe(by), site.at("by"))
    scores = ["list", [["list", [_text(_measured(site, "by", each, x), site) for each in by]] for x in items]]
    ref = compute(site, Deferred(["pareto", scores], "list"))
    fronts = [Deferred(["at", ["ref", ref.stage, ref.port], index], "bool") for index in range(len(items))]
    records = (x if isinstance(x, Record) else Record({"value": x}) for x in items)
    return [Record({**x, "front": front}) for x, front in zip(records, fronts, strict=True)]


@builtin
def when(site: CallSite, condition: Any, *, then: Any, else_: Any) -> Any:
    """What `then` gives where the condition holds, else `else`. Functions of no arguments make stages that run only
    where they are needed."""
    if isinstance(condition, bool):
        return _arm(site, "then" if condition else "else", then if condition else else_)
    condition = as_number(site, condition)
    if not isinstance(condition, Deferred) or condition.kind != "bool":
        raise faults.wrong_kind("the condition of 'when'", "a comparison", describe(condition), site.at("condition"))
    session = site.session
    outer = session.guard
    holds = guard_of(site, condition, outer)
    fails = guard_of(site, Deferred(["if", condition.expression, ["number", False], ["number", True]], "bool"), outer)
    session.memo.setdefault("when", set()).update((holds.stage, fails.stage))
    sides = []
    for name, guard, arm in (("then", holds, then), ("else", fails, else_)):
        with session.named(f"[{name}]", group=True), session.guarded(guard):
            sides.append(_arm(site, name, arm))
    with session.guarded(outer):
        return select(site, holds, *sides)


def _arm(site: CallSite, name: str, arm: Any) -> Any:
    is_lambda = isinstance(arm, Closure) and arm.is_lambda and not arm.parameters
    return site.evaluator.call(arm, [], {}, site.at(name)) if is_lambda else arm
