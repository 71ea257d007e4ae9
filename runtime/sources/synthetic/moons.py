"""Two half circles that reach into each other: (cos t, sin t) and (1 - cos t, 1/2 - sin t), t uniform in [0, pi]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etude.compiler.schema import ColumnSchema
from etude.runtime.sources import Chunk
from etude.runtime.sources.synthetic import Option

if TYPE_CHECKING:
    import numpy as np

SEMANTICS = 1
OPTIONS: Mapping[str, Option] = {"noise": Option(0.1, "the standard deviation of normal noise on both features")}


def columns(options: Mapping[str, Any]) -> tuple[ColumnSchema, ...]:
    """`features` float32 [2] and `label`, each class equally likely."""
    return (
        ColumnSchema("features", "tensor", "float32", (2,)),
        ColumnSchema("label", "label", "int32", (), 2, ("upper", "lower")),
    )


def rows(options: Mapping[str, Any], key: int, numbers: np.ndarray[Any, np.dtype[np.uint32]]) -> Chunk:
    import numpy as np

    from etude.backends.numpy.random import fold, normal, randint, uniform

    label = randint(fold(fold(key, 0), numbers), 0, 1, ())
    angle = np.float32(np.pi) * uniform(fold(fold(key, 1), numbers), ())
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    lower = np.stack([1 - np.cos(angle), np.float32(0.5) - np.sin(angle)], axis=-1)
    spread = np.float32(options["noise"]) * normal(fold(fold(key, 2), numbers), (2,))
    return {"features": np.where(label[:, np.newaxis] == 0, upper, lower) + spread, "label": label}
