"""Normal clouds, one for each class: centres uniform in [-1, 1] per feature, drawn once from the seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etude.compiler.schema import ColumnSchema
from etude.runtime.sources import Chunk
from etude.runtime.sources.synthetic import Option

if TYPE_CHECKING:
    import numpy as np

SEMANTICS = 1
OPTIONS: Mapping[str, Option] = {
    "classes": Option(3, "the number of clouds", low=1, high=100_000),
    "dim": Option(2, "the number of features", low=1, high=1_000_000),
    "noise": Option(0.3, "the standard deviation of a cloud, for features of which the centres lie in [-1, 1]"),
}


def columns(options: Mapping[str, Any]) -> tuple[ColumnSchema, ...]:
    """`features` float32 [dim] and `label`, each class equally likely."""
    return (
        ColumnSchema("features", "tensor", "float32", (options["dim"],)),
        ColumnSchema("label", "label", "int32", (), options["classes"]),
    )


def rows(options: Mapping[str, Any], key: int, numbers: np.ndarray[Any, np.dtype[np.uint32]]) -> Chunk:
    import numpy as np

    from etude.backends.numpy.random import fold, normal, randint, uniform

    dim, classes = options["dim"], options["classes"]
    centres = 2 * uniform(fold(key, 0), (classes, dim)) - 1
    label = randint(fold(fold(key, 1), numbers), 0, classes - 1, ())
    spread = np.float32(options["noise"]) * normal(fold(fold(key, 2), numbers), (dim,))
    return {"features": centres[label] + spread, "label": label}
