"""Put weights into an nnx module, inside a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from flax import nnx
from jax import Array

M = TypeVar("M", bound=nnx.Module)


def rebuild(make: Callable[[], M], *weights: Mapping[str, Array]) -> M:
    """The module that `make` makes, around `weights` named by their dotted paths; nothing is computed for it."""
    models = nnx.eval_shape(make)
    for named in weights:
        for path, value in named.items():
            variable_at(models, path).set_value(value)
    return models


def values_at(models: nnx.Module, paths: Sequence[str]) -> dict[str, Array]:
    """What the variables at some dotted paths hold."""
    return {path: variable_at(models, path)[...] for path in paths}


def variable_at(models: nnx.Module, path: str) -> nnx.Variable[Any]:
    """The variable at a dotted path, in which numbers are places in lists."""
    place: Any = models
    for name in path.split("."):
        place = place[int(name)] if name.isdigit() else getattr(place, name)
    return place
