"""The paths by which people name the weights of a model: parts by their names or places, weights by their bindings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from etude.backends.program.ir import Slot
from etude.compiler.models import traced_model
from etude.compiler.origins import origin_map
from etude.compiler.session import Session
from etude.compiler.values import AnyOrigin, Chain, Model, Replaced, Wrapper, is_weight

Named = tuple[str, Slot, AnyOrigin]


def named_weights(session: Session, model: Model) -> list[Named]:
    """(path, slot, origin) of each weight of a model, in the order of its parts, as far as it has been traced."""
    return [each for each in _weights(session, model, "") if is_weight(each[2])]


def held_values(session: Session, model: Model) -> list[Named]:
    """(path, slot, origin) of each measured value that a model holds, as far as it has been traced."""
    return [each for each in _weights(session, model, "") if not is_weight(each[2])]


def _weights(session: Session, model: Model, prefix: str) -> Iterator[Named]:
    if isinstance(model, Chain):
        yield from _chain(session, model, prefix)
    elif isinstance(model, Wrapper) and not isinstance(model, Replaced):
        change = origin_map(model)
        for path, slot, origin in _weights(session, model.base, prefix):
            yield path, slot, change(origin)
    else:
        traced = traced_model(session, model)
        if traced is not None:
            yield from zip_slots(traced.sub, traced.origins, prefix)


def _chain(session: Session, model: Chain, prefix: str) -> Iterator[Named]:
    for index, part in enumerate(model.parts):
        if isinstance(part, Model):
            name = str(index) if model.is_list or not part.name else part.name
            yield from _weights(session, part, f"{prefix}{name}.")


def zip_slots(sub: Any, origins: Any, prefix: str) -> Iterator[Named]:
    """The slots of a sub-program and all below it, with their origins."""
    for slot, origin in zip(sub.slots, origins.slots, strict=True):
        yield f"{prefix}{slot.name}", slot, origin
    for child, below in zip(sub.children, origins.children, strict=True):
        yield from zip_slots(child.sub, below, f"{prefix}{child.name}.")
