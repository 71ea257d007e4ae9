"""Counter-based random numbers on the host: the same bits as `backends.torch.random` and `backends.jax.random`.

mix(x) is a 32-bit integer hash: x ^= x >> 16; x *= 0x21f0aaad; x ^= x >> 15; x *= 0x735a2d97; x ^= x >> 15.
fold(key, n) = mix(key ^ mix(n + 0x9e3779b9)) derives a key. Element p, in row-major order, of a draw with key k has the
bits mix(mix(p ^ k) + k); a uniform is their upper 24 bits times 2**-24. All arithmetic is modulo 2**32.

A key is an int, or an array of uint32 keys: every function then draws once with each, and the shape of the keys stands
before the shape that is asked for.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

Key: TypeAlias = "int | NDArray[np.uint32]"
Floats: TypeAlias = NDArray[np.float32]
MASK = 0xFFFFFFFF
TRIES = 8  # proposals for a gamma variable: each is taken with a probability above 0.95
GOLDEN = 0x9E3779B9  # 2**32 divided by the golden ratio: keeps fold(0, 0) from being 0


def mix(x: int) -> int:
    """Hash 32 bits."""
    x = ((x ^ x >> 16) * 0x21F0AAAD) & MASK
    x = ((x ^ x >> 15) * 0x735A2D97) & MASK
    return x ^ x >> 15


def _mix(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    x = (x ^ x >> np.uint32(16)) * np.uint32(0x21F0AAAD)
    x = (x ^ x >> np.uint32(15)) * np.uint32(0x735A2D97)
    return x ^ x >> np.uint32(15)


@overload
def fold(key: int, n: int) -> int: ...
@overload
def fold(key: Key, n: Any) -> Key: ...
def fold(key: Key, n: Any) -> Key:
    """Derive a key for use `n` of `key`; an array of numbers gives an array of keys.

    >>> fold(0, 0), fold(0, 1)
    (340428713, 380648332)
    """
    if isinstance(key, int) and isinstance(n, int):
        return mix(key ^ mix((n + GOLDEN) & MASK))
    moved = np.asarray(n).astype(np.uint32) + np.uint32(GOLDEN)
    return _mix(np.asarray(key, np.uint32) ^ _mix(np.atleast_1d(moved))).reshape(np.broadcast(key, n).shape)


def bits(key: Key, shape: tuple[int, ...]) -> NDArray[np.uint32]:
    """Uniform bits, `[*key, *shape]`."""
    keys = np.asarray(key, np.uint32)
    k = keys.reshape((*keys.shape, 1))
    drawn = _mix(_mix(np.arange(math.prod(shape), dtype=np.uint32) ^ k) + k)
    return drawn.reshape((*keys.shape, *shape))


def uniform(key: Key, shape: tuple[int, ...]) -> Floats:
    """Uniform numbers in [0, 1), multiples of 2**-24."""
    return np.asarray(bits(key, shape) >> np.uint32(8), np.float32) * np.float32(2**-24)


def uniform_rows(key: Key, rows: NDArray[np.uint32], shape: tuple[int, ...]) -> Floats:
    """Uniform numbers `[rows, *shape]`: each row sees the same, whatever the batch it is in."""
    return uniform(fold(key, rows), shape)


def normal(key: Key, shape: tuple[int, ...]) -> Floats:
    """Normal numbers by Box and Muller (1958)."""
    radius = np.sqrt(-2 * np.log1p(-uniform(fold(key, 0), shape)))
    return radius * np.cos(np.float32(2 * math.pi) * uniform(fold(key, 1), shape))


def gumbel(key: Key, shape: tuple[int, ...]) -> Floats:
    """-log(-log(u)), finite."""
    return -np.log(-np.log(np.maximum(uniform(key, shape), np.float32(2**-25))))


def bernoulli(key: Key, p: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """True with probability `p`."""
    return uniform(key, shape) < p


def randint(key: Key, low: Any, high: Any, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Integers from `low` to `high`, both included."""
    span = np.asarray(high - low + 1, np.int32)
    steps = np.floor(uniform(key, shape) * span.astype(np.float32)).astype(np.int32)
    return np.minimum(steps, span - np.int32(1)) + np.asarray(low, np.int32)


def beta(key: Key, a: Any, b: Any, shape: tuple[int, ...]) -> Floats:
    """Numbers between 0 and 1 by two gamma variables: a / (a + b) is their mean."""
    ratio = _log_gamma(fold(key, 0), a, shape) - _log_gamma(fold(key, 1), b, shape)
    return np.asarray(1 / (1 + np.exp(-np.clip(ratio, -80, 80))), np.float32)


def _log_gamma(key: Key, a: Any, shape: tuple[int, ...]) -> Floats:
    """The logarithms of gamma variables by Marsaglia and Tsang (2000), of which TRIES proposals leave none out."""
    d = np.asarray(a, np.float32) + np.float32(1 - 1 / 3)
    found, done = np.broadcast_to(np.log(d), (*np.shape(key), *shape)), np.False_
    for number in range(TRIES):
        x = normal(fold(key, 2 * number), shape)
        v = (1 + x / np.sqrt(9 * d)) ** 3
        log_v = np.log(np.maximum(v, np.float32(1e-30)))
        u = np.log(np.maximum(uniform(fold(key, 2 * number + 1), shape), np.float32(2**-25)))
        fits = (v > 0) & (u < 0.5 * x * x + d * (1 - v + log_v))
        found, done = np.where(fits & ~done, np.log(d) + log_v, found), done | fits
    spread = np.log(np.maximum(uniform(fold(key, 2 * TRIES), shape), np.float32(2**-25)))
    return np.asarray(found + spread / np.asarray(a, np.float32), np.float32)


def categorical(key: Key, logits: Floats) -> NDArray[np.int32]:
    """A class for each of the distributions `[..., classes]`, by the Gumbel-max trick."""
    noise = gumbel(key, logits.shape[np.ndim(key) :])
    return np.argmax(logits + noise, axis=-1).astype(np.int32)


def permutation(key: Key, n: int) -> NDArray[np.int32]:
    """The integers below `n` in random order; equal bits keep theirs."""
    return np.argsort(bits(key, (n,)), axis=-1, stable=True).astype(np.int32)


def dropout(key: Key, x: Floats, rate: float) -> Floats:
    """Zero with probability `rate`, else scaled so that the mean stays."""
    keep = uniform(key, x.shape[np.ndim(key) :]) >= np.float32(rate)
    return np.where(keep, x / np.float32(1 - rate), np.float32(0))


def random_shift(key: Key, x: Floats, max_shift: int) -> Floats:
    """Move each image `[height, width, channels]` by up to `max_shift` pixels; zeros come in."""
    shape = x.shape[np.ndim(key) : -3]
    down = randint(fold(key, 0), -max_shift, max_shift, shape)
    right = randint(fold(key, 1), -max_shift, max_shift, shape)
    ys, down_fits = _sources(down, x.shape[-3])
    xs, right_fits = _sources(right, x.shape[-2])
    x = np.take_along_axis(x, ys[..., :, None, None], axis=-3)
    x = np.take_along_axis(x, xs[..., None, :, None], axis=-2)
    return x * (down_fits[..., :, None, None] & right_fits[..., None, :, None])


def _sources(shift: NDArray[np.int32], size: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """For each place of the moved image, the place that it comes from, and whether that is inside."""
    places = np.arange(size, dtype=np.int32) - shift[..., None]
    return np.clip(places, 0, size - 1), (places >= 0) & (places < size)


def random_flip(key: Key, x: Floats) -> Floats:
    """Mirror each image `[height, width, channels]` from left to right with probability 1/2."""
    flip = bernoulli(key, 0.5, x.shape[np.ndim(key) : -3])
    return np.where(flip[..., None, None, None], x[..., ::-1, :], x)
