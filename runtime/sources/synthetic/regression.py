"""Numbers to predict from features that are uniform in [0, 1): a linear function, or one of Friedman's (1991).

`linear` is sum(w * x) with w normal, drawn once from the seed, nonzero for the first `informative` features;
`friedman` is 10 sin(pi x0 x1) + 20 (x2 - 1/2)^2 + 10 x3 + 5 x4, scaled by 1/5. Features beyond those used are
distractors.
"""

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
    "dim": Option(10, "the number of features", low=5, high=1_000_000),
    "informative": Option(5, "how many features the linear function uses", low=1),
    "function": Option("linear", "what the target is", choices=("linear", "friedman")),
    "noise": Option(0.1, "the standard deviation of normal noise on the target"),
}


def columns(options: Mapping[str, Any]) -> tuple[ColumnSchema, ...]:
    """`features` float32 [dim] and the target `y` float32."""
    return (
        ColumnSchema("features", "tensor", "float32", (options["dim"],)),
        ColumnSchema("y", "tensor", "float32", is_target=True),
    )


def rows(options: Mapping[str, Any], key: int, numbers: np.ndarray[Any, np.dtype[np.uint32]]) -> Chunk:
    import numpy as np

    from etude.backends.numpy.random import fold, normal, uniform

    x = uniform(fold(fold(key, 0), numbers), (options["dim"],))
    if options["function"] == "linear":
        weights = normal(fold(key, 1), (options["dim"],))
        y = (x[:, : options["informative"]] * weights[: options["informative"]]).sum(axis=1, dtype=np.float32)
    else:
        waves = 10 * np.sin(np.float32(np.pi) * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - np.float32(0.5)) ** 2
        y = (waves + 10 * x[:, 3] + 5 * x[:, 4]) / np.float32(5)
    noise = np.float32(options["noise"]) * normal(fold(fold(key, 2), numbers), ())
    return {"features": x, "y": (y + noise).astype(np.float32)}
