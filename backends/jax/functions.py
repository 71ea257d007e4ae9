"""What operations need several statements for on JAX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from etude.backends.jax.random import fold

Axes: TypeAlias = int | tuple[int, ...] | None
LOWEST = float(np.finfo(np.float32).min)
NEVER = 1e30  # minus the log of a probability of 0, which keeps its gradient


def absolute(x: Array) -> Array:
    """The magnitude; at 0 the slope is 0, as on PyTorch."""
    return x * lax.stop_gradient(jnp.sign(x))


def leaky_relu(x: Array, slope: float) -> Array:
    """x where positive, else slope * x; at 0 the slope is `slope`, as on PyTorch."""
    return jnp.where(x > 0, x, slope * x)


def clip(x: Array, low: Array | float, high: Array | float) -> Array:
    """x held between low and high; at the limits the gradient passes, as on PyTorch."""
    x = jnp.where(x < low, low, x)
    return jnp.where(x > high, high, x)


def norm(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """The Euclidean length. The inner `where` keeps the infinite slope of the root at 0 out of the gradient."""
    square = jnp.sum(jnp.square(x), axis=axis, keepdims=keepdims)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def normalize(x: Array, axis: int, eps: float) -> Array:
    """x divided by its Euclidean length along an axis, at least eps."""
    return x / jnp.maximum(norm(x, axis=axis, keepdims=True), eps)


def standardize(x: Array, axis: tuple[int, ...], eps: float) -> Array:
    """Mean 0 and variance 1 over axes."""
    centred = x - jnp.mean(x, axis=axis, keepdims=True)
    return centred * lax.rsqrt(jnp.mean(jnp.square(centred), axis=axis, keepdims=True) + eps)


def top_k(x: Array, k: int, axis: int) -> tuple[Array, Array]:
    """The k largest along an axis and their indices, of equal values the first."""
    values, indices = lax.top_k(jnp.moveaxis(x, axis, -1), k)
    return jnp.moveaxis(values, -1, axis), jnp.moveaxis(indices, -1, axis)


def attention(
    q: Array, k: Array, v: Array, mask: Array | None = None, causal: bool = False, scale: float | None = None
) -> Array:
    """softmax(q @ k.T * scale) @ v; a query that may look at nothing gives zeros."""
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    if q.dtype == jnp.bfloat16:  # what is scaled and normalised is kept in float32, as PyTorch does
        scores = jnp.einsum("...qd,...kd->...qk", q, k, preferred_element_type=jnp.float32) * scale
    else:
        scores = jnp.einsum("...qd,...kd->...qk", q * scale, k)
    if causal:
        triangle = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        mask = triangle if mask is None else mask & triangle
    if mask is None:
        return jax.nn.softmax(scores).astype(v.dtype) @ v
    weights = jax.nn.softmax(jnp.where(mask, scores, LOWEST))
    return jnp.where(mask, weights, 0.0).astype(v.dtype) @ v


def cross_entropy(
    logits: Array, labels: Array, where: Array | None = None, reduce: str = "mean", label_smoothing: float = 0.0
) -> Array:
    """-log softmax(logits)[label] over the last axis; means are over the places where `where` is true."""
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1, mode="clip")[..., 0]
    if label_smoothing:
        chosen = (1 - label_smoothing) * chosen + label_smoothing * jnp.mean(logits, axis=-1)
    return _reduced(jax.nn.logsumexp(logits, axis=-1) - chosen, where, reduce)


def binary_cross_entropy(logits: Array, targets: Array, where: Array | None = None, reduce: str = "mean") -> Array:
    """softplus(x) - x * target for each logit; means are over the places where `where` is true."""
    return _reduced(jax.nn.softplus(logits) - logits * targets, where, reduce)


def _reduced(losses: Array, where: Array | None, reduce: str) -> Array:
    if where is not None:
        losses = jnp.where(where, losses, 0.0)
    axes = tuple(range(losses.ndim) if reduce == "mean" else range(1, losses.ndim))
    if reduce == "none" or not axes:
        return losses
    if where is None:
        return jnp.mean(losses, axis=axes)
    return jnp.sum(losses, axis=axes) / jnp.maximum(jnp.sum(where, axis=axes), 1)


def max_pool(x: Array, size: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]]) -> Array:
    """The largest in each window over the spatial axes of `[..., spatial..., channels]`."""
    return lax.reduce_window(x, -jnp.inf, lax.max, *_windows(x, size, stride, padding))


def avg_pool(x: Array, size: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]]) -> Array:
    """The mean of each window over the spatial axes of `[..., spatial..., channels]`, without the padding."""
    sums = lax.reduce_window(x, 0.0, lax.add, *_windows(x, size, stride, padding))
    if not any(width for pair in padding for width in pair):
        return sums / math.prod(size)
    ones = jnp.ones((1,) * (x.ndim - len(size) - 1) + x.shape[-len(size) - 1 : -1] + (1,))
    return sums / lax.reduce_window(ones, 0.0, lax.add, *_windows(x, size, stride, padding))


def _windows(
    x: Array, size: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]:
    outer = x.ndim - len(size) - 1
    return (1,) * outer + (*size, 1), (1,) * outer + (*stride, 1), ((0, 0),) * outer + (*padding, (0, 0))


def scan(
    function: Callable[..., tuple[Array, ...]], states: int, elements: int, *given: Array, key: Any = None
) -> tuple[Array, ...]:
    """The function on some states and each element of the first axis, one after the other, with what else it reads.

    Gives the last states, and all other results stacked. A function that draws is given a key for each element.
    """
    rows, shared = given[states : states + elements], given[states + elements :]
    keys = () if key is None else (element_keys(key, rows[0]),)

    def step(state: tuple[Array, ...], row: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        results = function(*state, *row[:elements], *shared, *row[elements:])
        return results[:states], results[states:]

    last, outs = lax.scan(step, given[:states], (*rows, *keys))
    return (*last, *outs)


def element_keys(key: Any, elements: Array) -> Array:
    """A key for each element of the first axis."""
    return fold(key, jnp.arange(elements.shape[0], dtype=jnp.uint32))


def loop(function: Callable[..., Any], numbers: range, states: int, *given: Array, key: Any = None) -> Any:
    """The function on each number, some states and what else it reads, one after the other: gives the last states.

    A function that draws is given a key of its own for each number.
    """
    shared = given[states:]

    def step(state: tuple[Array, ...], i: Array) -> tuple[tuple[Array, ...], None]:
        keys = () if key is None else (fold(key, i),)
        found = function(i, *state, *shared, *keys)
        return (found if states > 1 else (found,)), None

    last, _ = lax.scan(step, given[:states], jnp.arange(numbers.start, numbers.stop, dtype=jnp.int32))
    return last if states > 1 else last[0]


def choose(index: Array, branches: Sequence[Callable[..., Any]], *given: Array) -> Any:
    """One of the functions on what is given, by its place; places outside of the list are held within."""
    return lax.switch(index, branches, *given)


def select(index: Array, branches: Sequence[Callable[..., Any]], *given: Array) -> Any:
    """One of the functions on what is given, by its place, which may be another one for each row."""
    found = [branch(*given) for branch in branches]
    if not isinstance(found[0], tuple):
        return _selected(index, found)
    return tuple(_selected(index, values) for values in zip(*found, strict=True))


def _selected(index: Array, values: Sequence[Array]) -> Array:
    result = values[-1]
    place = index.reshape(index.shape + (1,) * (result.ndim - index.ndim))
    for number in range(len(values) - 2, -1, -1):
        result = jnp.where(place <= number, values[number], result)
    return result


def eigh(x: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors as columns, of the symmetric part; the largest component is positive."""
    values, vectors = jnp.linalg.eigh((x + x.mT) / 2)
    return values, vectors * _signs(vectors)


def svd(x: Array) -> tuple[Array, Array, Array]:
    """Singular vectors and values; the largest component of each column of u is positive."""
    u, s, v = jnp.linalg.svd(x, full_matrices=False)
    signs = _signs(u)
    return u * signs, s, v * signs.mT


def _signs(vectors: Array) -> Array:
    """What makes the largest component of each column positive."""
    places = jnp.argmax(jnp.abs(vectors), axis=-2, keepdims=True)
    return jnp.where(jnp.take_along_axis(vectors, places, axis=-2) < 0, -1.0, 1.0)


def rfft(x: Array) -> tuple[Array, Array]:
    """The real and the imaginary parts of the frequencies of signals along the last axis."""
    found = jnp.fft.rfft(x)
    return found.real, found.imag


def ctc(
    logits: Array, labels: Array, length: Array | None = None, label_length: Array | None = None, blank: int = 0
) -> Array:
    """-log of the probability of labels `[..., n]` under all alignments to logits `[..., steps, classes]`."""
    scores = jax.nn.log_softmax(logits)
    steps, count = logits.shape[-2], labels.shape[-1]
    places = jnp.stack([jnp.full_like(labels, blank), labels], axis=-1).reshape(*labels.shape[:-1], 2 * count)
    places = jnp.concatenate([places, jnp.full_like(labels[..., :1], blank)], axis=-1)
    emitted = jnp.take_along_axis(scores, places[..., None, :], axis=-1, mode="clip")
    order = jnp.arange(2 * count + 1)
    skips = (places != blank) & (places != jnp.roll(places, 2, axis=-1)) & (order >= 2)

    def longer(paths: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
        step, scored = given
        one = _moved(paths, 1)
        two = jnp.where(skips, _moved(paths, 2), -NEVER)
        found = jax.nn.logsumexp(jnp.stack([paths, one, two]), axis=0) + scored
        return (found if length is None else jnp.where((step < length)[..., None], found, paths)), None

    start = jnp.where(order < 2, emitted[..., 0, :], -NEVER)
    paths, _ = lax.scan(longer, start, (jnp.arange(1, steps), jnp.moveaxis(emitted[..., 1:, :], -2, 0)))
    last = jnp.full_like(labels[..., 0], count) if label_length is None else label_length
    ends = jnp.take_along_axis(paths, 2 * last[..., None], axis=-1, mode="clip")[..., 0]
    before = jnp.take_along_axis(paths, jnp.maximum(2 * last[..., None] - 1, 0), axis=-1, mode="clip")[..., 0]
    before = jnp.where(last > 0, before, -NEVER)
    return jnp.minimum(-jax.nn.logsumexp(jnp.stack([ends, before]), axis=0), NEVER)


def _moved(paths: Array, by: int) -> Array:
    """The last axis moved to the right."""
    return jnp.concatenate([jnp.full_like(paths[..., :by], -NEVER), paths[..., :-by]], axis=-1)
