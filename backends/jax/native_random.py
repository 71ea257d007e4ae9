"""The hardware's own random numbers, for `random = "native"`: faster on accelerators, and different on each of them.

Every draw starts from its key ("rbg", XLA's bit generator), so a run still repeats itself on one device. Draws with a
key for each row, and those that only pick a few integers, stay portable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from etude.backends.jax import random
from etude.backends.jax.random import beta, fold, permutation, randint, random_flip, random_shift

__all__ = [
    "bernoulli", "beta", "categorical", "dropout", "fold", "gumbel", "normal", "permutation", "randint", "random_flip",
    "random_shift", "uniform", "uniform_rows",
]  # fmt: skip

uniform_rows = random.uniform_rows


def _generator(key: Any) -> Array:
    return jax.random.key(key, impl="rbg")


def uniform(key: Any, shape: Sequence[int]) -> Array:
    """Uniform numbers in [0, 1)."""
    return random.uniform(key, shape) if jnp.ndim(key) else jax.random.uniform(_generator(key), tuple(shape))


def normal(key: Any, shape: Sequence[int]) -> Array:
    """Normal numbers."""
    return random.normal(key, shape) if jnp.ndim(key) else jax.random.normal(_generator(key), tuple(shape))


def gumbel(key: Any, shape: Sequence[int]) -> Array:
    """-log(-log(u)), finite."""
    return -jnp.log(-jnp.log(jnp.maximum(uniform(key, shape), 2**-25)))


def bernoulli(key: Any, p: Any, shape: Sequence[int]) -> Array:
    """True with probability `p`."""
    return uniform(key, shape) < p


def categorical(key: Any, logits: Array) -> Array:
    """A class for each of the distributions `[..., classes]`, by the Gumbel-max trick."""
    return jnp.argmax(logits + gumbel(key, logits.shape[jnp.ndim(key) :]), axis=-1)


def dropout(key: Any, x: Array, rate: float) -> Array:
    """Zero with probability `rate`, else scaled so that the mean stays."""
    keep = uniform(key, x.shape[jnp.ndim(key) :]) >= rate
    return jnp.where(keep, x / (1 - rate), 0.0)
