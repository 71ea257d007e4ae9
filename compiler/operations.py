"""Calls of operations by their names, wherever they stand."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from etude.compiler.calls import CallSite
from etude.compiler.measured import check_settings, is_late, operated
from etude.compiler.tracing import call_operation, is_random
from etude.compiler.values import Made, Tensor, Tree

MAKING = {"zeros", "ones", "full", "iota", "eye", "tensor"}


def call_by_name(name: str, positional: list[Any], named: dict[str, Any], site: CallSite) -> Any:
    """What an operation gives: a plain number, a tensor of the function being traced, or one known after the run."""
    session = site.session
    kinds = {*map(type, positional), *map(type, named.values())}
    if Tree in kinds:
        from etude.compiler.trees import operation

        return operation(session, name, positional, named, site.location)
    if session.frame is not None and Tensor in kinds:  # most calls: the rest finds that out more slowly
        return call_operation(session, name, positional, named, site.location)
    if session.frame is None or not any(isinstance(v, Tensor) for v in _flatten([*positional, *named.values()])):
        from etude.compiler.builtins.scalars import static_operation

        result = static_operation(name, positional, named, site)
        if result is not None:
            return result
    late = is_late([*positional, *named.values()])
    if session.frame is None and name in MAKING and not late:
        return Made(name, tuple(positional), named)
    if session.frame is None and (late or not is_random(name)):
        check_settings(name, positional, named, site.location)
        apply = partial(call_operation, session, name, location=site.location)
        return operated(session, positional, named, apply, site.location)
    return call_operation(session, name, positional, named, site.location)


def _flatten(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flatten(value)
        else:
            yield value
