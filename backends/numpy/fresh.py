"""Fresh weights: the same numbers for every backend, drawn on the host from counters.

The key of a weight is folded from the structure of the constructor that made it, its seed, and its ordinal in a
depth-first walk; so renaming, moving lines, or another backend changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.backends.numpy.random import fold, uniform

Weight = NDArray[np.float32]
Shape = tuple[int, ...]
Initializer = Callable[[int, Shape, Mapping[str, Any]], NDArray[np.float64]]


def fresh_weight(shape: Shape, init: Mapping[str, Any], *, structure: str, seed: int, ordinal: int) -> Weight:
    """Draw one weight. `structure` is the hexadecimal hash of the constructor, `init` {"kind": .., its numbers}."""
    key = fold(fold(fold(0, int(structure[:8], 16)), seed), ordinal)
    return np.asarray(INITIALIZERS[init["kind"]](key, tuple(shape), init), np.float32)


def fans(shape: Shape) -> tuple[int, int]:
    """Inputs and outputs that meet at a weight of `shape` (.., in, out): all but the last dimension, and the last one
    times the receptive field (what stands before the last two).

    >>> fans((3, 3, 16, 32))
    (144, 288)
    """
    return math.prod(shape[:-1]), math.prod(shape[-1:]) * math.prod(shape[:-2])


def standard_normal(key: int, shape: Shape) -> NDArray[np.float64]:
    """Box-Muller (1958) in float64 on two draws of 24 bits."""
    first, second = (uniform(fold(key, i), shape).astype(np.float64) for i in (0, 1))
    return np.asarray(np.sqrt(-2.0 * np.log(1.0 - first)) * np.cos(2.0 * np.pi * second))


def symmetric_uniform(key: int, shape: Shape, limit: float) -> NDArray[np.float64]:
    """Uniform in [-limit, limit)."""
    return np.asarray((2.0 * uniform(key, shape).astype(np.float64) - 1.0) * limit)


def _lecun(shape: Shape) -> float:
    """LeCun et al. 1998."""
    return math.sqrt(1.0 / fans(shape)[0])


def _he(shape: Shape) -> float:
    """He et al. 2015."""
    return math.sqrt(2.0 / fans(shape)[0])


def _xavier(shape: Shape) -> float:
    """Glorot and Bengio 2010."""
    return math.sqrt(2.0 / sum(fans(shape)))


def _normal(deviation: Callable[[Shape], float]) -> Initializer:
    return lambda key, shape, init: standard_normal(key, shape) * deviation(shape)


def _uniform(deviation: Callable[[Shape], float]) -> Initializer:
    """A uniform distribution of the same standard deviation."""
    return lambda key, shape, init: symmetric_uniform(key, shape, math.sqrt(3.0) * deviation(shape))


INITIALIZERS: dict[str, Initializer] = {
    "zeros": lambda key, shape, init: np.zeros(shape),
    "ones": lambda key, shape, init: np.ones(shape),
    "constant": lambda key, shape, init: np.full(shape, float(init["value"])),
    "normal": lambda key, shape, init: standard_normal(key, shape) * init["std"],
    "uniform": lambda key, shape, init: (
        init["low"] + (init["high"] - init["low"]) * uniform(key, shape).astype(np.float64)
    ),
    "lecun_normal": _normal(_lecun),
    "he_normal": _normal(_he),
    "xavier_normal": _normal(_xavier),
    "lecun_uniform": _uniform(_lecun),
    "he_uniform": _uniform(_he),
    "xavier_uniform": _uniform(_xavier),
}
