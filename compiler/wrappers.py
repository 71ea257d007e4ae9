"""Models made from models: trained, slow, as they started, frozen, reseeded; and what that makes of their parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from etude.compiler.values import (
    Adapter,
    Before,
    Chain,
    Frozen,
    Identity,
    Model,
    Rebound,
    Replaced,
    Reseeded,
    Slow,
    Start,
    Tapped,
    Trained,
    Wrapper,
)


def apply_training(model: Model, training: Any) -> Model:
    """`model` with every weight that `training` updated."""
    identity = ("trained", training.stage, id(training), Before(model.identity))
    inner = _inside(model, identity, lambda part: apply_training(part, training), (Adapter, Tapped, Frozen))
    return inner or Trained(identity, model, training, name=model.name)


def start_of(model: Model) -> Model:
    """A model with the weights that it has when a stage begins."""
    identity = ("start", model.identity)
    inner = _inside(model, identity, start_of, (Adapter, Tapped))
    return inner or (model if isinstance(model, Start | Slow) else Start(identity, model, name=model.name))


def frozen_of(model: Model) -> Model:
    """A model through which nothing learns."""
    identity = ("frozen", model.identity)
    inner = _inside(model, identity, frozen_of, (Adapter, Tapped))
    return inner or (model if isinstance(model, Start | Slow | Frozen) else Frozen(identity, model, name=model.name))


def reseeded(model: Model, seed: int) -> Model:
    """A model with what is fresh of it drawn from another seed."""
    identity = ("reseeded", seed, model.identity)
    inner = _inside(model, identity, lambda part: reseeded(part, seed), (Adapter, Tapped))
    return inner or Reseeded(identity, model, seed, name=model.name)


def slow_of(model: Model, name: str) -> Slow:
    """The slow copy `name` of a model."""
    return Slow(("slow", name, model.identity), model, name=name)


def _inside(
    model: Model, identity: Identity, change: Callable[[Model], Model], through: tuple[type[Wrapper], ...]
) -> Model | None:
    """A chain with each part changed, or a wrapper with its base changed; None for other models."""
    if isinstance(model, Chain):
        parts = tuple(change(part) if isinstance(part, Model) else part for part in model.parts)
        return replace(model, identity=identity, parts=parts)
    if not isinstance(model, through):
        return None
    if isinstance(model, Adapter):
        return replace(model, identity=identity, base=change(model.base), of=change(model.of))
    return replace(model, identity=identity, base=change(model.base))


def rewrap(wrapper: Wrapper, part: Model) -> Model:
    """A part of a wrapper's base as a part of the wrapper."""
    if isinstance(wrapper, Trained):
        return apply_training(part, wrapper.training)
    if isinstance(wrapper, Slow):
        return replace(slow_of(part, wrapper.identity[1]), name=part.name)
    if isinstance(wrapper, Start):
        return start_of(part)
    if isinstance(wrapper, Frozen):
        return frozen_of(part)
    if isinstance(wrapper, Reseeded):
        return reseeded(part, wrapper.seed)
    if isinstance(wrapper, Replaced):
        made: Model = wrapper.replacement.inside(part)
        return made
    if isinstance(wrapper, Rebound):
        return replace(wrapper, identity=("part", wrapper.identity, part.identity), base=part, name=part.name)
    return part
