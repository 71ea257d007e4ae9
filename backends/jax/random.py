"""Counter-based random numbers on JAX: the same bits as `backends.numpy.random`, which states the scheme.

A key is an int, a uint32 scalar (also a traced one), or an array of uint32 keys: every function then draws once with
each, and the shape of the keys stands before the shape that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from etude.backends.numpy.random import GOLDEN, TRIES

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


def beta(key: Any, a: Any, b: Any, shape: Sequence[int]) -> Array:
    """Numbers between 0 and 1 by two gamma variables: a / (a + b) is their mean."""
    ratio = _log_gamma(fold(key, 0), a, shape) - _log_gamma(fold(key, 1), b, shape)
    return 1 / (1 + jnp.exp(-jnp.clip(ratio, -80, 80)))


def _log_gamma(key: Any, a: Any, shape: Sequence[int]) -> Array:
    """The logarithms of gamma variables by Marsaglia and Tsang (2000), of which TRIES proposals leave none out."""
    a = jax.lax.stop_gradient(jnp.asarray(a, jnp.float32))
    d = a + (1 - 1 / 3)
    found, done = jnp.broadcast_to(jnp.log(d), (*jnp.shape(key), *shape)), jnp.bool_(False)
    for number in range(TRIES):
        x = normal(fold(key, 2 * number), shape)
        v = (1 + x / jnp.sqrt(9 * d)) ** 3
        log_v = jnp.log(jnp.maximum(v, 1e-30))
        u = jnp.log(jnp.maximum(uniform(fold(key, 2 * number + 1), shape), 2**-25))
        fits = (v > 0) & (u < 0.5 * x * x + d * (1 - v + log_v))
        found, done = jnp.where(fits & ~done, jnp.log(d) + log_v, found), done | fits
    return found + jnp.log(jnp.maximum(uniform(fold(key, 2 * TRIES), shape), 2**-25)) / a


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
