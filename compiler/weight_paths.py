"""The paths by which people name the weights of a model: parts by their names or places, weights by their bindings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from etude.backends.program.ir import Slot
from etude.compiler.models import traced_model
from etude.compiler.origins import origin_map
from etude.compiler.session import Session
from etude.compiler.values import AnyOrigin, Chain, Model, Replaced, Wrapper, is_weight

Named = tuple[str, Slot, AnyOrigin]


def named_weights(session: Session, model: Model) -> list[Named]:
    """(path, slot, origin) of each weight of a model, in the order of its parts, as far as it has been traced."""
    return list(_weights(session, model, "", is_weight))


def held_values(session: Session, model: Model) -> list[Named]:
    """(path, slot, origin) of each measured value that a model holds, as far as it has been traced."""
    return list(_weights(session, model, "", lambda origin: not is_weight(origin)))


def _weights(session: Session, model: Model, prefix: str, wanted: Callable[[AnyOrigin], bool]) -> Iterator[Named]:
    """The wanted of all; what becomes of a weight in a wrapper is a weight, and of what is none, none."""
    core = model
    while isinstance(core, Wrapper) and not isinstance(core, Replaced):
        core = core.base
    for path, slot, origin in _unwrapped(session, core, prefix, wanted):
        if wanted(origin):
            yield path, slot, _changed(model, origin)


def _changed(model: Model, origin: AnyOrigin) -> AnyOrigin:
    """What the wrappers around a model have made of one of its origins."""
    changes = []
    while isinstance(model, Wrapper) and not isinstance(model, Replaced):
        changes.append(origin_map(model))
        model = model.base
    for change in reversed(changes):
        origin = change(origin)
    return origin


def _unwrapped(session: Session, model: Model, prefix: str, wanted: Callable[[AnyOrigin], bool]) -> Iterator[Named]:
    if not isinstance(model, Chain):
        traced = traced_model(session, model)
        if traced is not None:
            yield from zip_slots(traced.sub, traced.origins, prefix)
        return
    for index, part in enumerate(model.parts):
        if isinstance(part, Model):
            name = str(index) if model.is_list or not part.name else part.name
            yield from _weights(session, part, f"{prefix}{name}.", wanted)


def zip_slots(sub: Any, origins: Any, prefix: str) -> Iterator[Named]:
    """The slots of a sub-program and all below it, with their origins."""
    for slot, origin in zip(sub.slots, origins.slots, strict=True):
        yield f"{prefix}{slot.name}", slot, origin
    for child, below in zip(sub.children, origins.children, strict=True):
        yield from zip_slots(child.sub, below, f"{prefix}{child.name}.")
