"""What a model computes but for its weights: two that are equal in this can stand for each other, weight by weight."""

from __future__ import annotations

from typing import Any

from etude.compiler.structure import structure_of
from etude.compiler.values import (
    Chain,
    Deferred,
    Instance,
    Measured,
    Model,
    Record,
    Replaced,
    Tapped,
    Wrapper,
)


def architecture(value: Any) -> Any:
    """The structure of a model, or of a part of its configuration, without weights and seeds."""
    if isinstance(value, Instance):
        return ("instance", structure_of(value.definition), architecture(Record(value.configuration)))
    if isinstance(value, Chain):
        return ("chain", *(architecture(part) for part in value.parts))
    if isinstance(value, Replaced):
        models = value.replacement.models.values()
        return ("replaced", architecture(value.base), *(architecture(model) for model in models))
    if isinstance(value, Tapped):
        return ("tapped", value.globs, architecture(value.base))
    if isinstance(value, Wrapper):
        return architecture(value.base)
    if isinstance(value, Model):
        return ("model", value.identity)
    if isinstance(value, Record):
        return ("record", *((name, architecture(item)) for name, item in value.items()))
    if isinstance(value, list):
        return ("list", *(architecture(item) for item in value))
    if isinstance(value, Deferred):
        return ("after the run", repr(value.expression))
    if isinstance(value, Measured):
        return ("after the run", id(value))
    return structure_of(value)
