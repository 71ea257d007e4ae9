"""What a function of a recipe depends on: its code and what the names in it stand for. Equal captures trace alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from etude.compiler.checks.names import names_in
from etude.compiler.scopes import MISSING
from etude.compiler.session import Session
from etude.compiler.values import AnyOrigin, Before, Chain, Closure, Trained, TrainedOrigin
from etude.grammar import nodes

PLAIN = {type(None), bool, int, float, str}
MOST_KEPT = 200  # results of one kind: a sweep over models brings a new one each time
DEPTH = 4
MOST_TRAININGS = 16  # one upon the other, in a model that members of a sweep may share
_ELEMENT = re.compile(r".*\.\d+")


class TooDeep(Exception):
    """A model was trained more often than is looked into: each round of a long chain has a history of its own."""


class Holes(Struct):
    """What tells apart the models of a sweep's members, each known by the order in which it appears: the stages that
    trained them, and the names that they have as elements of a list."""

    stages: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    trainings: dict[int, int] = field(default_factory=dict)

    def stage(self, id: str) -> int:
        return self.stages.setdefault(id, len(self.stages))

    def name(self, name: str | None) -> str | int | None:
        if name is None or not _ELEMENT.fullmatch(name):
            return name
        return self.names.setdefault(name, len(self.names))

    def identity(self, identity: Any) -> Any:
        """An identity, which is made of those of the models inside."""
        if isinstance(identity, Before):
            return self.identity(identity.identity)
        if not isinstance(identity, tuple):
            return identity
        if len(identity) == 4 and identity[0] == "trained":
            _, stage, training, inner = identity
            number = self.trainings.setdefault(training, len(self.trainings))
            return "trained", self.stage(stage), number, self.identity(inner)
        return tuple(map(self.identity, identity))

    def origin(self, origin: AnyOrigin) -> Any:
        if isinstance(origin, TrainedOrigin):
            return "trained", self.stage(origin.ref.stage), origin.ref.port, origin.index, origin.fresh
        return origin


def remembered(
    session: Session, function: Any, objects: Mapping[str, Any], settings: Any, compute: Callable[[], Any]
) -> Any:
    """The result of `compute`, once for each `function`, each identity of `objects` and each value of `settings`.

    It must depend on nothing else but the session's seed.

    Members of a sweep that share their models share the tracing of their losses.
    """
    kept: list[Any] = list(objects.values())
    same = tuple((name, id(value)) for name, value in objects.items())
    key = (captured(session, function, kept), same, settings, session.seed)
    known = session.memo.setdefault("remembered", {})
    if key not in known:
        if len(known) >= MOST_KEPT:
            known.clear()
        known[key] = (compute(), kept)  # kept, so that no id in a key is given to another object
    return known[key][0]


def captured(session: Session, value: Any, kept: list[Any], depth: int = DEPTH, holes: Holes | None = None) -> Any:
    """A value as part of a key: numbers and texts as they are, a lambda by its code and what it captures.

    What the key knows by its `id` is added to `kept`. With `holes` a trained model is known by all but its stage.
    """
    kind = type(value)
    if kind in PLAIN:
        return kind, value
    kept.append(value)
    if holes is not None and isinstance(value, Trained | Chain):
        return _model(session, value, kept, depth, holes)
    if kind is not Closure or type(value.node) is not nodes.Lambda or depth == 0:
        return id(value)
    kept.append(value.body)
    names = session.memo.setdefault("names", {})
    free = names.get(id(value.body))
    if free is None:
        free = names[id(value.body)] = tuple(sorted(names_in((value.body, value.parameters))))
        names["kept", id(value.body)] = value.body
    found = ((name, value.scope.find(name)) for name in free)
    inner = tuple((n, captured(session, item, kept, depth - 1, holes)) for n, item in found if item is not MISSING)
    return id(value.body), tuple(map(id, value.parameters)), inner


def _model(session: Session, value: Trained | Chain, kept: list[Any], depth: int, holes: Holes) -> Any:
    """A model by what it is made of and how; its stage and its place in a list are holes. Raises `TooDeep`."""
    if _trainings(value) > MOST_TRAININGS:
        raise TooDeep
    own = holes.identity(value.identity), holes.name(value.name)
    if isinstance(value, Chain):
        return "chain", own, value.is_list, tuple(captured(session, part, kept, depth, holes) for part in value.parts)
    training = value.training
    updated = tuple(
        (holes.origin(before), holes.stage(after.ref.stage), after.ref.port, after.index)
        for before, after in training.updated.items()
    )
    return "trained", own, training.columns, updated, captured(session, value.base, kept, depth, holes)


def _trainings(value: Any) -> int:
    """How many trainings lie upon one another, as far as is looked."""
    count = 0
    while isinstance(value, Trained) and count <= MOST_TRAININGS:
        value, count = value.base, count + 1
    if isinstance(value, Chain):
        count += max(map(_trainings, value.parts), default=0)
    return count
