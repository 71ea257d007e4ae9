"""Whether two models are one architecture, and the weights of a model that arithmetic is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etude.compiler import faults, weight_faults
from etude.compiler.architecture import architecture
from etude.compiler.diagnostics import Location
from etude.compiler.instances import model_name
from etude.compiler.models import model_origins
from etude.compiler.session import Session
from etude.compiler.values import Adapter, FrozenOrigin, Model, StartOrigin
from etude.compiler.weight_paths import Named, named_weights


def own_weights(session: Session, model: Model) -> list[Named]:
    """The weights of a model, each once; of an adapter only those that are not of the model it adapts."""
    found: dict[Any, Named] = {}
    for path, slot, origin in named_weights(session, model):
        if not (isinstance(model, Adapter) and isinstance(origin, FrozenOrigin)):
            found.setdefault(origin, (path, slot, origin))
    return list(found.values())


def check_alike(session: Session, models: Sequence[Model], location: Location) -> None:
    """Refuse arithmetic on models of two architectures, and say where they first differ."""
    for model in models:
        if not own_weights(session, model):
            text = f"the weights of '{model_name(model)}' are known once it is called: it has not been, up to here"
            raise faults.wrong_value(text, location, "call the model before, or train it")
    for other in models[1:]:
        _check_bases(session, models[0], other, location)
        _check_shapes(session, models[0], other, location)
        if architecture(models[0]) != architecture(other):
            names = f"'{model_name(models[0])}' and '{model_name(other)}'"
            text = f"{names} have weights of the same shapes, but do not compute the same with them"
            raise faults.wrong_value(text, location, "arithmetic on weights takes models of one architecture")


def _check_shapes(session: Session, first: Model, other: Model, location: Location) -> None:
    left, right = own_weights(session, first), own_weights(session, other)
    names = model_name(first), model_name(other)
    for weight, its in zip(left, right, strict=False):
        if weight[1].type != its[1].type:
            raise weight_faults.other_architecture(names, _text(weight), _text(its), location)
    if len(left) != len(right):
        count = min(len(left), len(right))
        texts = [_text(side[count]) if len(side) > count else "no more" for side in (left, right)]
        raise weight_faults.other_architecture(names, texts[0], texts[1], location)


def _text(weight: Named) -> str:
    return f"{weight[0]}: {weight[1].type}"


# --- adapters ------------------------------------------------------------------------------------


def _check_bases(session: Session, first: Model, other: Model, location: Location) -> None:
    if isinstance(first, Adapter) and isinstance(other, Adapter):
        check_base(session, first, other.of, location)


def check_base(session: Session, adapter: Adapter, base: Model, location: Location) -> None:
    """Refuse an adapter beside a model that is not the one it adapts: the same architecture with the same weights."""
    if [_plain(o) for o in model_origins(session, adapter.of)] != [_plain(o) for o in model_origins(session, base)]:
        raise weight_faults.wrong_base(model_name(adapter), model_name(adapter.of), base.name, location)


def _plain(origin: Any) -> Any:
    return origin.of if isinstance(origin, FrozenOrigin | StartOrigin) else origin
