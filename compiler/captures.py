"""What a function of a recipe depends on: its code and what the names in it stand for. Equal captures trace alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from etude.compiler.checks.names import names_in
from etude.compiler.scopes import MISSING
from etude.compiler.session import Session
from etude.compiler.values import Closure
from etude.grammar import nodes

MOST_KEPT = 200  # results of one kind: a sweep over models brings a new one each time
DEPTH = 4


def remembered(
    session: Session, function: Any, objects: Mapping[str, Any], settings: Any, compute: Callable[[], Any]
) -> Any:
    """The result of `compute`, once for each `function`, each identity of `objects` and each value of `settings`.

    It must depend on nothing else but the session's seed.

    Members of a sweep that share their models share the tracing of their losses.
    """
    kept: list[Any] = list(objects.values())
    same = tuple((name, id(value)) for name, value in objects.items())
    key = (_captured(session, function, kept, DEPTH), same, settings, session.seed)
    known = session.memo.setdefault("remembered", {})
    if key not in known:
        if len(known) >= MOST_KEPT:
            known.clear()
        known[key] = (compute(), kept)  # kept, so that no id in a key is given to another object
    return known[key][0]


def _captured(session: Session, value: Any, kept: list[Any], depth: int) -> Any:
    """A value as part of a key: numbers and texts as they are, a lambda by its code and what it captures."""
    if value is None or isinstance(value, bool | int | float | str):
        return type(value), value
    kept.append(value)
    if not isinstance(value, Closure) or not isinstance(value.node, nodes.Lambda) or depth == 0:
        return id(value)
    kept.append(value.body)
    names = session.memo.setdefault("names", {})
    free = names.get(id(value.body))
    if free is None:
        free = names[id(value.body)] = tuple(sorted(names_in((value.body, value.parameters))))
        names["kept", id(value.body)] = value.body
    found = ((name, value.scope.find(name)) for name in free)
    inner = tuple((name, _captured(session, item, kept, depth - 1)) for name, item in found if item is not MISSING)
    return id(value.body), tuple(map(id, value.parameters)), inner
