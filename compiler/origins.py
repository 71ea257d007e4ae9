"""What wrappers do to the origins of weights: training replaces them, a slow copy follows them, and so on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from etude.compiler.tracing import Origins
from etude.compiler.values import (
    AnyOrigin,
    Frozen,
    FrozenOrigin,
    Identity,
    KeptOrigin,
    Origin,
    Reseeded,
    Slow,
    SlowOrigin,
    Start,
    StartOrigin,
    Trained,
    TrainedOrigin,
    Wrapper,
)

OriginMap = Callable[[AnyOrigin], AnyOrigin]


def origin_map(model: Wrapper) -> OriginMap:
    """What becomes of the origins of a wrapper's base; those of other parts are not its business."""
    if isinstance(model, Trained):
        return lambda origin: trained_origin(origin, model.training.updated)
    if isinstance(model, Slow):
        return lambda origin: slow_origin(model.identity[1], origin)
    if isinstance(model, Start):
        return start_origin
    if isinstance(model, Frozen):
        return frozen_origin
    if isinstance(model, Reseeded):
        return lambda origin: reseeded_origin(origin, model.seed)
    return lambda origin: origin


def mapped(origins: Origins, change: OriginMap) -> Origins:
    """A tree of origins, each changed."""
    return Origins(tuple(map(change, origins.slots)), tuple(mapped(child, change) for child in origins.children))


def trained_origin(origin: AnyOrigin, updated: Mapping[AnyOrigin, AnyOrigin]) -> AnyOrigin:
    """A weight after a stage that updated some."""
    if isinstance(origin, FrozenOrigin):
        return frozen_origin(updated.get(origin.of, origin.of))
    return updated.get(origin, origin)


def slow_origin(name: str, origin: AnyOrigin) -> AnyOrigin:
    """The weight of the slow copy `name` that follows a weight."""
    return SlowOrigin(name, origin) if isinstance(origin, Origin | TrainedOrigin) else origin


def start_origin(origin: AnyOrigin) -> AnyOrigin:
    """A weight as it is when a stage begins."""
    if isinstance(origin, FrozenOrigin):
        return StartOrigin(origin.of)
    return StartOrigin(origin) if isinstance(origin, Origin | TrainedOrigin) else origin


def frozen_origin(origin: AnyOrigin) -> AnyOrigin:
    """A weight through which nothing learns."""
    return FrozenOrigin(origin) if isinstance(origin, Origin | TrainedOrigin) else origin


def reseeded_origin(origin: AnyOrigin, seed: int) -> AnyOrigin:
    """A weight that is drawn from another seed, if it is still fresh."""
    return replace(origin, seed=seed, is_chosen=True) if isinstance(origin, Origin) else origin


def kept_origin(by: Identity) -> OriginMap:
    """A weight of what stands in the place of a part: the wrappers of the whole leave it alone."""
    return lambda origin: KeptOrigin(by, origin)


def released_origin(by: Identity) -> OriginMap:
    """The weight that `kept_origin` kept."""
    return lambda origin: origin.of if isinstance(origin, KeptOrigin) and origin.by == by else origin


def can_learn(origin: AnyOrigin) -> bool:
    """Whether a weight can be updated by gradients at all: copies, frozen ones and measured tensors cannot."""
    return isinstance(origin, Origin | TrainedOrigin)
