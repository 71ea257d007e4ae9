"""Counter-based random numbers on JAX: the same bits as `backends.numpy.random`, which states the scheme.

A key is an int, a uint32 scalar (also a traced one), or an array of uint32 keys: every function then draws once with
each, and the shape of the keys stands before the shape that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
from jax import Array

from etude.backends.numpy.random import GOLDEN

Key: TypeAlias = "int | Array"
FIRST, SECOND = 0x21F0AAAD, 0x735A2D97


def mix(x: Array) -> Array:
    """Hash each 32 bits."""
    x = (x ^ x >> 16) * jnp.uint32(FIRST)
    x = (x ^ x >> 15) * jnp.uint32(SECOND)
    return x ^ x >> 15


def fold(key: Any, n: Any) -> Array:
    """Derive a key for use `n` of `key`; an array of numbers gives an array of keys."""
    return mix(jnp.uint32(key) ^ mix(jnp.uint32(n) + jnp.uint32(GOLDEN)))


def bits(key: Any, shape: Sequence[int]) -> Array:
    """Uniform bits, `[*key, *shape]`."""
    keys = jnp.uint32(key)
    k = keys[..., None]
    drawn = mix(mix(jnp.arange(math.prod(shape), dtype=jnp.uint32) ^ k) + k)
    return drawn.reshape((*keys.shape, *shape))


def uniform(key: Any, shape: Sequence[int]) -> Array:
    """Uniform numbers in [0, 1), multiples of 2**-24."""
    return (bits(key, shape) >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def uniform_rows(key: Any, rows: Array, shape: Sequence[int]) -> Array:
    """Uniform numbers `[rows, *shape]`: each row sees the same, whatever the batch it is in."""
    return uniform(fold(key, rows), shape)


def normal(key: Any, shape: Sequence[int]) -> Array:
    """Normal numbers by Box and Muller (1958)."""
    radius = jnp.sqrt(-2 * jnp.log1p(-uniform(fold(key, 0), shape)))
    return radius * jnp.cos(2 * math.pi * uniform(fold(key, 1), shape))


def gumbel(key: Any, shape: Sequence[int]) -> Array:
    """-log(-log(u)), finite."""
    return -jnp.log(-jnp.log(jnp.maximum(uniform(key, shape), 2**-25)))


def bernoulli(key: Any, p: Any, shape: Sequence[int]) -> Array:
    """True with probability `p`."""
    return uniform(key, shape) < p


def randint(key: Any, low: Any, high: Any, shape: Sequence[int]) -> Array:
    """Integers from `low` to `high`, both included."""
    span = high - low + 1
    steps = jnp.floor(uniform(key, shape) * span).astype(jnp.int32)
    return jnp.minimum(steps, span - 1) + low


def categorical(key: Any, logits: Array) -> Array:
    """A class for each of the distributions `[..., classes]`, by the Gumbel-max trick."""
    return jnp.argmax(logits + gumbel(key, logits.shape[jnp.ndim(key) :]), axis=-1)


def permutation(key: Any, n: int) -> Array:
    """The integers below `n` in random order; equal bits keep theirs."""
    return jnp.argsort(bits(key, (n,)), axis=-1, stable=True)


def dropout(key: Any, x: Array, rate: float) -> Array:
    """Zero with probability `rate`, else scaled so that the mean stays."""
    keep = uniform(key, x.shape[jnp.ndim(key) :]) >= rate
    return jnp.where(keep, x / (1 - rate), 0.0)


def random_shift(key: Any, x: Array, max_shift: int) -> Array:
    """Move each image `[height, width, channels]` by up to `max_shift` pixels; zeros come in."""
    shape = x.shape[jnp.ndim(key) : -3]
    down = randint(fold(key, 0), -max_shift, max_shift, shape)
    right = randint(fold(key, 1), -max_shift, max_shift, shape)
    ys, down_fits = _sources(down, x.shape[-3])
    xs, right_fits = _sources(right, x.shape[-2])
    x = jnp.take_along_axis(x, ys[..., :, None, None], axis=-3, mode="clip")
    x = jnp.take_along_axis(x, xs[..., None, :, None], axis=-2, mode="clip")
    return x * (down_fits[..., :, None, None] & right_fits[..., None, :, None])


def _sources(shift: Array, size: int) -> tuple[Array, Array]:
    """For each place of the moved image, the place that it comes from, and whether that is inside."""
    places = jnp.arange(size) - shift[..., None]
    return places, (places >= 0) & (places < size)


def random_flip(key: Any, x: Array) -> Array:
    """Mirror each image `[height, width, channels]` from left to right with probability 1/2."""
    flip = bernoulli(key, 0.5, x.shape[jnp.ndim(key) : -3])
    return jnp.where(flip[..., None, None, None], x[..., ::-1, :], x)
