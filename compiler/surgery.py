"""Models with other models in the place of parts, and models whose calls also give what their parts give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from etude.compiler import faults
from etude.compiler.diagnostics import Location
from etude.compiler.instances import model_name
from etude.compiler.models import batched, call_model, call_plain, canonical_types, trace_model
from etude.compiler.parts import direct_parts, has_parts_known, matching_parts
from etude.compiler.session import Session
from etude.compiler.values import (
    Chain,
    Identity,
    Instance,
    Model,
    ModelClass,
    Rebound,
    Record,
    Replaced,
    Tapped,
    Tensor,
    Wrapper,
    describe,
)
from etude.compiler.wrappers import rewrap


class Replacement(Struct, eq=False):
    """Which parts of a model others stand in for: `models` by the identity of the part, and the `paths` of the parts.

    The paths are in order, once the parts are known; `kind` keeps parts of one constructor.
    """

    identity: Identity
    globs: tuple[str, ...]
    function: Any
    kind: ModelClass | None
    location: Location
    seed: int
    models: dict[Identity, Model] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        return bool(self.models)

    def inside(self, part: Model) -> Model:
        """A part of what is changed, as it is in the changed model."""
        if part.identity in self.models:
            made = self.models[part.identity]
            return made.named(part.name) if part.name else made
        return Replaced(("replaced", self.identity, part.identity), part, self, name=part.name)


def replaced(session: Session, model: Model, change: Replacement, evaluator: Any) -> Model:
    """A model with parts replaced: at once if its parts are known, else when it is first called."""
    if not has_parts_known(session, model):
        made: Model = Replaced(("replaced", change.identity, model.identity), model, change, name=model.name)
        session.memo["changed", made.identity] = change
        return made
    _choose(session, model, change, evaluator)
    made = _applied(session, model, change)
    session.memo["changed", made.identity] = change
    _trace_again(session, made, evaluator, change.location)
    return made


def _applied(session: Session, model: Model, change: Replacement) -> Model:
    """The parts of a chain replaced one by one, so that it stays a chain."""
    if model.identity in change.models:
        return change.inside(model)
    if isinstance(model, Chain):
        parts = tuple(_applied(session, part, change) if isinstance(part, Model) else part for part in model.parts)
        return replace(model, identity=("replaced", change.identity, model.identity), parts=parts)
    is_touched = any(part.identity in change.models for part in _below(session, model))
    return change.inside(model) if is_touched else model


def _below(session: Session, model: Model) -> list[Model]:
    return [each for _, part in direct_parts(session, model) for each in (part, *_below(session, part))]


def _choose(session: Session, model: Model, change: Replacement, evaluator: Any) -> None:
    """Find the parts that are meant, and make what stands in their place."""
    found = matching_parts(session, model, change.globs, change.location, nested=change.kind is not None)
    if change.kind is not None:
        found = [(path, part) for path, part in found if definition_of(part) is change.kind]
        if not found:
            text = f"none of the parts that are named is a '{change.kind.name}'"
            raise faults.wrong_value(text, change.location)
    live = session.live
    with session.from_top(change.seed):
        for ordinal, (path, part) in enumerate(found):
            if part.identity in change.models:
                continue
            session.ordinal = ordinal
            given = replace(part, name="base")
            made = evaluator.call(change.function, [given], {}, change.location)
            if not isinstance(made, Model):
                raise faults.wrong_kind("what 'with' gives for a part", "a model", describe(made), change.location)
            change.models[part.identity] = replace(made, name=part.name)
            change.paths.append(path)
    session.live = live


def definition_of(model: Model) -> ModelClass | None:
    """The constructor of a model, whatever has become of its weights."""
    while isinstance(model, Wrapper):
        model = model.base
    return model.definition if isinstance(model, Instance) else None


def _trace_again(session: Session, model: Model, evaluator: Any, location: Location) -> None:
    """Trace what is changed for the inputs that it had before, so that its weights are known."""
    if isinstance(model, Chain):
        for part in model.parts:
            if isinstance(part, Model):
                _trace_again(session, part, evaluator, location)
        return
    types = _input_types(session, model)
    if types is not None and not isinstance(model, Rebound | Tapped):
        trace_model(session, model, types, False, location, evaluator)


def trace_like(session: Session, model: Model, other: Model, site: Any) -> None:
    """Trace a model that has not been called for the inputs that another one had, if it takes as many."""
    types = None if has_parts_known(session, model) else _input_types(session, other)
    if types is not None:
        trace_model(session, model, types, False, site.location, site.evaluator)


def _input_types(session: Session, model: Model) -> Any:
    while isinstance(model, Wrapper):
        model = model.base
    return session.memo.get(("types", model.identity))


def resolved(session: Session, model: Replaced, types: Sequence[Any], location: Location, evaluator: Any) -> None:
    """Make sure that it is known what stands in the place of what."""
    change: Replacement = model.replacement
    if not change.is_known:
        _discover(session, model.base, types, location, evaluator)
        _choose(session, model.base, change, evaluator)


def _discover(session: Session, model: Model, types: Sequence[Any], location: Location, evaluator: Any) -> None:
    """Trace a model as it is, to find out about its parts."""
    wraps, live = session.wraps, session.live
    session.wraps, session.live = (), None
    try:
        trace_model(session, model, types, False, location, evaluator)
    finally:
        session.wraps, session.live = wraps, live


# --- calls ---------------------------------------------------------------------------------------


def call_part(session: Session, model: Model, arguments: Sequence[Any], location: Location, evaluator: Any) -> Any:
    """Call what stands in the place of a part, and hand what it gives to the taps around it."""
    frame, wraps, live = session.frame, session.wraps, session.live
    assert frame is not None
    seen = target = model
    level, taps = len(wraps), []
    for index in reversed(range(len(wraps))):
        wrapper, _ = wraps[index]
        if isinstance(wrapper, Tapped):
            taps += [wrapper.identity] * (seen.identity in session.memo.get(("taps", wrapper.identity), ()))
        elif isinstance(wrapper, Replaced) and seen.identity in wrapper.replacement.models:
            target, level = wrapper.replacement.models[seen.identity], index
            seen = target
        else:
            seen = rewrap(wrapper, seen)
    if target is model:
        result = call_plain(session, model, arguments, location, evaluator)
    else:
        kept, frame.kept = frame.kept, wraps[level][0].identity
        session.wraps, session.live = wraps[:level], wraps[level][1]
        try:
            named = replace(target, name=model_name(model))
            result = call_plain(session, named, arguments, location, evaluator)
        finally:
            frame.kept, session.wraps, session.live = kept, wraps, live
    for tap in taps:
        if not isinstance(result, Tensor):
            text = f"what the tapped part '{model_name(model)}' gives"
            raise faults.wrong_kind(text, "a tensor", describe(result), location)
        frame.tapped.append((tap, result))
    return result


def call_tapped(session: Session, model: Tapped, arguments: Sequence[Any], location: Location, evaluator: Any) -> Any:
    """What a model gives, and what the parts give that are tapped, in the order in which they are called."""
    frame = session.frame
    assert frame is not None
    _find_taps(session, model, arguments, location, evaluator)
    before, frame.tapped = frame.tapped, []
    wraps = session.wraps
    session.wraps = (*wraps, (model, session.live))
    try:
        output = call_model(session, replace(model.base, name=model.name), arguments, location, evaluator)
    finally:
        session.wraps = wraps
        found, frame.tapped = frame.tapped, before
    frame.tapped += [item for item in found if item[0] != model.identity]
    return Record({"output": output, "activations": [value for tap, value in found if tap == model.identity]})


def _find_taps(session: Session, model: Tapped, arguments: Sequence[Any], location: Location, evaluator: Any) -> None:
    base = model.base.base if isinstance(model.base, Rebound) else model.base
    if ("taps", model.identity) in session.memo:
        return
    if not has_parts_known(session, base):
        frame = session.frame
        assert frame is not None
        types = [argument.type for argument in arguments if isinstance(argument, Tensor)]
        if frame.kind == "row":
            types = [batched(type) for type in types]
        _discover(session, base, canonical_types(types)[0], location, evaluator)
    found = matching_parts(session, base, model.globs, model.location)
    tapped = {part.identity for _, part in found}
    if isinstance(model.base, Rebound):  # the parts of a chain are called with the other weights, others without
        tapped |= {rewrap(model.base, part).identity for _, part in found}
    session.memo["taps", model.identity] = tapped
