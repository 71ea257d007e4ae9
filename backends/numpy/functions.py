"""What operations need several statements for in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from etude.backends.numpy.random import fold

Floats: TypeAlias = NDArray[np.float32]
Axes: TypeAlias = int | tuple[int, ...] | None
Pairs: TypeAlias = Sequence[tuple[int, int]]

NEVER = np.float32(1e30)  # minus the log of a probability of 0

# The rational approximation of erf(x) / x in x**2 that XLA and Eigen use for float32.
ERF_ABOVE = (
    *(-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05),
    *(-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02),
)
ERF_BELOW = (
    *(-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03),
    -1.42647390514189e-02,
)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def leaky_relu(x: Floats, slope: float) -> Floats:
    """x where positive, else slope * x."""
    return np.where(x > 0, x, slope * x)


def erf(x: Floats) -> Floats:
    """The error function, to float32."""
    wide = np.clip(np.asarray(x, np.float64), -4, 4)
    square = wide * wide
    return np.asarray(wide * np.polyval(ERF_ABOVE, square) / np.polyval(ERF_BELOW, square), np.float32)


def gelu(x: Floats) -> Floats:
    """x times the normal distribution function."""
    return x * np.float32(0.5) * (1 + erf(x / np.float32(math.sqrt(2))))


def silu(x: Floats) -> Floats:
    """x * sigmoid(x)."""
    return x * sigmoid(x)


def logsumexp(x: Floats, axis: Axes = None, keepdims: bool = False) -> Floats:
    """log(sum(exp(x))), without overflow."""
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, np.float32(0))
    total = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis=axis)


def softmax(x: Floats, axis: int) -> Floats:
    """exp(x) / sum(exp(x)) along an axis."""
    small = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return small / np.sum(small, axis=axis, keepdims=True)


def log_softmax(x: Floats, axis: int) -> Floats:
    """The logarithm of softmax, without underflow."""
    return x - logsumexp(x, axis, keepdims=True)


def normalize(x: Floats, axis: int, eps: float) -> Floats:
    """x divided by its Euclidean length along an axis, at least eps."""
    return x / np.maximum(np.sqrt(np.sum(np.square(x), axis=axis, keepdims=True)), np.float32(eps))


def standardize(x: Floats, axis: tuple[int, ...], eps: float) -> Floats:
    """Mean 0 and variance 1 over axes."""
    variance = np.var(x, axis=axis, keepdims=True)
    return (x - np.mean(x, axis=axis, keepdims=True)) / np.sqrt(variance + np.float32(eps))


def top_k(x: NDArray[Any], k: int, axis: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """The k largest along an axis and their indices, of equal values the first."""
    order = np.argsort(-x, axis=axis, stable=True).take(range(k), axis=axis)
    return np.take_along_axis(x, order, axis=axis), order.astype(np.int32)


def scatter_add(x: NDArray[Any], index: NDArray[np.int32], updates: NDArray[Any]) -> NDArray[Any]:
    """`x` with values added at positions of the first axis; equal positions add up."""
    result = x.copy()
    np.add.at(result, index, updates)
    return result


def segment_sum(x: NDArray[Any], segments: NDArray[np.int32], count: int) -> NDArray[Any]:
    """Add up the entries `[n, ...]` that belong to each of `count` segments `[n]`."""
    return scatter_add(np.zeros((count, *x.shape[1:]), x.dtype), segments, x)


def attention(
    q: Floats,
    k: Floats,
    v: Floats,
    mask: NDArray[np.bool_] | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Floats:
    """softmax(q @ k.T * scale) @ v; a query that may look at nothing gives zeros."""
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = q @ np.swapaxes(k, -1, -2) * np.float32(scale)
    allowed = np.ones(scores.shape[-2:], bool) if mask is None else mask
    if causal:
        allowed = allowed & np.tri(*scores.shape[-2:], dtype=np.bool_)
    weights = softmax(np.where(allowed, scores, np.finfo(np.float32).min), -1)
    return np.where(allowed, weights, np.float32(0)) @ v


def cross_entropy(
    logits: Floats,
    labels: NDArray[np.int32],
    where: NDArray[np.bool_] | None = None,
    reduce: str = "mean",
    label_smoothing: float = 0.0,
) -> Floats:
    """-log softmax(logits)[label] over the last axis; means are over the places where `where` is true."""
    log_p = log_softmax(logits, -1)
    losses = -np.take_along_axis(log_p, np.asarray(labels)[..., None], axis=-1)[..., 0]
    smooth = np.float32(label_smoothing)
    return _reduced((1 - smooth) * losses - smooth * np.mean(log_p, axis=-1), where, reduce)


def binary_cross_entropy(
    logits: Floats, targets: Floats, where: NDArray[np.bool_] | None = None, reduce: str = "mean"
) -> Floats:
    """softplus(x) - x * target for each logit; means are over the places where `where` is true."""
    return _reduced(np.logaddexp(logits, 0) - logits * targets, where, reduce)


def _reduced(losses: Floats, where: NDArray[np.bool_] | None, reduce: str) -> Floats:
    losses = losses if where is None else np.where(where, losses, np.float32(0))
    axes = tuple(range(0 if reduce == "mean" else 1, np.ndim(losses)))
    if reduce == "none" or not axes:
        return losses
    if where is None:
        return np.mean(losses, axis=axes)
    count = np.maximum(np.sum(where, axis=axes, dtype=np.int32), 1)
    return np.sum(losses, axis=axes) / np.asarray(count, np.float32)


def conv(x: Floats, w: Floats, stride: Sequence[int], padding: Pairs, dilation: Sequence[int], groups: int) -> Floats:
    """Cross-correlation of `[..., spatial..., in]` with `[size..., in / groups, out]`."""
    size = tuple(d * (k - 1) + 1 for k, d in zip(w.shape[:-2], dilation, strict=True))
    windows = _windows(_padded(x, padding, 0.0), size, stride)  # [..., spatial..., in, size...]
    windows = windows[_index(..., *(slice(None, None, d) for d in dilation))]
    parts = zip(np.split(windows, groups, axis=-len(size) - 1), np.split(w, groups, axis=-1), strict=True)
    axes = list(range(-len(size), 0))
    return np.concatenate(
        [np.tensordot(part, kernel, ([*axes, -len(size) - 1], list(range(len(size) + 1)))) for part, kernel in parts],
        axis=-1,
    )


def conv_transpose(x: Floats, w: Floats, stride: Sequence[int], cut: Pairs) -> Floats:
    """Each element of `[..., spatial..., in]` stamps the kernel `[size..., in, out]`; `cut` is taken from the ends."""
    count = len(stride)
    outer, dims, size = x.shape[: x.ndim - count - 1], x.shape[-count - 1 : -1], w.shape[:count]
    full = tuple((n - 1) * s + k for n, s, k in zip(dims, stride, size, strict=True))
    result = np.zeros((*outer, *full, w.shape[-1]), np.float32)
    for offset in np.ndindex(*size):
        ends = zip(offset, dims, stride, strict=True)
        result[_index(..., *(slice(o, o + (n - 1) * s + 1, s) for o, n, s in ends), slice(None))] += x @ w[offset]
    added = [(max(-low, 0), max(-high, 0)) for low, high in cut]
    taken = (slice(max(low, 0), n - max(high, 0)) for n, (low, high) in zip(full, cut, strict=True))
    return _padded(result[_index(..., *taken, slice(None))], added, 0.0)


def max_pool(x: Floats, size: Sequence[int], stride: Sequence[int], padding: Pairs) -> Floats:
    """The largest in each window over the spatial axes of `[..., spatial..., channels]`."""
    return np.max(_windows(_padded(x, padding, -math.inf), size, stride), axis=tuple(range(-len(size), 0)))


def avg_pool(x: Floats, size: Sequence[int], stride: Sequence[int], padding: Pairs) -> Floats:
    """The mean of each window over the spatial axes of `[..., spatial..., channels]`, without the padding."""
    axes = tuple(range(-len(size), 0))
    inside = _padded(np.ones((*x.shape[-len(size) - 1 : -1], 1), np.float32), padding, 0.0)
    sums = np.sum(_windows(_padded(x, padding, 0.0), size, stride), axis=axes)
    return sums / np.sum(_windows(inside, size, stride), axis=axes)


def _padded(x: Floats, padding: Pairs, value: float) -> Floats:
    outer = x.ndim - len(padding) - 1
    return np.pad(x, [(0, 0)] * outer + [*padding, (0, 0)], constant_values=value)


def _index(*items: Any) -> tuple[Any, ...]:
    """An index of as many axes as there are items; the type of one is not expressible."""
    return items


def _windows(x: Floats, size: Sequence[int], stride: Sequence[int]) -> Floats:
    """`[..., spatial..., channels, size...]`."""
    axes = tuple(range(-len(size) - 1, -1))
    windows = sliding_window_view(x, tuple(size), axis=axes)
    steps = tuple(slice(None, None, s) for s in stride)
    return windows[_index(..., *steps, slice(None), *(slice(None) for _ in size))]


def resize(x: Floats, shape: Sequence[int], method: str) -> Floats:
    """Resize the spatial axes of `[..., spatial..., channels]`; pixels are their centres."""
    for axis, n in zip(range(-len(shape) - 1, -1), shape, strict=True):
        weights = _weights(x.shape[axis], n, method)
        x = np.moveaxis(np.tensordot(x, weights, ([axis], [1])), -1, axis)
    return x


def _weights(old: int, new: int, method: str) -> Floats:
    """`[new, old]`: how much of each old pixel a new one takes."""
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    if method == "nearest":
        return np.eye(old, dtype=np.float32)[np.floor(centres + 0.5).astype(int)]
    centres = np.clip(centres, 0, old - 1)
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(old))).astype(np.float32)


def loop(function: Callable[..., Any], numbers: range, states: int, *given: Any, key: Any = None) -> Any:
    """The function on each number, some states and what else it reads, one after the other: gives the last states.

    A function that draws is given a key of its own for each number.
    """
    state, shared = given[:states], given[states:]
    for i in numbers:
        keys = () if key is None else (fold(key, i),)
        found = function(np.int32(i), *state, *shared, *keys)
        state = found if states > 1 else (found,)
    return state if states > 1 else state[0]


def choose(index: Any, branches: Sequence[Callable[..., Any]], *given: Any) -> Any:
    """One of the functions on what is given, by its place; places outside of the list are held within."""
    return branches[min(max(int(index), 0), len(branches) - 1)](*given)


def select(index: Any, branches: Sequence[Callable[..., Any]], *given: Any) -> Any:
    """One of the functions on what is given, by its place, which may be another one for each row."""
    found = [branch(*given) for branch in branches]
    if not isinstance(found[0], tuple):
        return _selected(index, found)
    return tuple(_selected(index, values) for values in zip(*found, strict=True))


def _selected(index: Any, values: Sequence[Any]) -> Any:
    result = values[-1]
    place = index.reshape(index.shape + (1,) * (result.ndim - index.ndim))
    for number in range(len(values) - 2, -1, -1):
        result = np.where(place <= number, values[number], result)
    return result


def eigh(x: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues, ascending, and eigenvectors as columns, of the symmetric part; the largest component is positive."""
    values, vectors = np.linalg.eigh((x + np.swapaxes(x, -1, -2)) / 2)
    return values, vectors * _signs(vectors)


def svd(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Singular vectors and values; the largest component of each column of u is positive."""
    u, s, v = np.linalg.svd(x, full_matrices=False)
    signs = _signs(u)
    return u * signs, s, v * np.swapaxes(signs, -1, -2)


def _signs(vectors: Floats) -> Floats:
    """What makes the largest component of each column positive."""
    places = np.argmax(np.abs(vectors), axis=-2, keepdims=True)
    return np.where(np.take_along_axis(vectors, places, axis=-2) < 0, np.float32(-1), np.float32(1))


def rfft(x: Floats) -> tuple[Floats, Floats]:
    """The real and the imaginary parts of the frequencies of signals along the last axis."""
    found = np.fft.rfft(x)
    return found.real.astype(np.float32), found.imag.astype(np.float32)


def slice_at(x: Any, start: Any, length: int, axis: int) -> Any:
    """A part of a certain length along an axis; the start is held where the part lies inside."""
    start = np.clip(start, 0, x.shape[axis] - length)
    return np.take(x, start + np.arange(length), axis=axis)


def ctc(logits: Floats, labels: Any, length: Any = None, label_length: Any = None, blank: int = 0) -> Floats:
    """-log of the probability of labels `[..., n]` under all alignments to logits `[..., steps, classes]`."""
    logits = logits - np.max(logits, axis=-1, keepdims=True)
    scores = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    steps, count = logits.shape[-2], labels.shape[-1]
    places = np.stack([np.full_like(labels, blank), labels], axis=-1).reshape(*labels.shape[:-1], 2 * count)
    places = np.concatenate([places, np.full_like(labels[..., :1], blank)], axis=-1)
    emitted = np.take_along_axis(scores, np.broadcast_to(places[..., None, :], (*scores.shape[:-1], 2 * count + 1)), -1)
    skips = (places != blank) & (places != np.roll(places, 2, axis=-1)) & (np.arange(2 * count + 1) >= 2)
    paths = np.where(np.arange(2 * count + 1) < 2, emitted[..., 0, :], -NEVER)
    for step in range(1, steps):
        one = _moved(paths, 1)
        two = np.where(skips, _moved(paths, 2), -NEVER)
        longer = np.logaddexp(np.logaddexp(paths, one), two) + emitted[..., step, :]
        paths = longer if length is None else np.where((step < length)[..., None], longer, paths)
    last = np.full(labels.shape[:-1], count) if label_length is None else label_length
    ends = np.take_along_axis(paths, 2 * last[..., None], axis=-1)[..., 0]
    before = np.take_along_axis(paths, np.maximum(2 * last[..., None] - 1, 0), axis=-1)[..., 0]
    return np.minimum(-np.logaddexp(ends, np.where(last > 0, before, -NEVER)), NEVER).astype(np.float32)


def _moved(paths: Floats, by: int) -> Floats:
    """The last axis moved to the right."""
    return np.concatenate([np.full_like(paths[..., :by], -NEVER), paths[..., :-by]], axis=-1)
