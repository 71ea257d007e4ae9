"""What operations need several statements for on PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from etude.backends.torch.random import fold

NEVER = 1e30  # minus the log of a probability of 0, which keeps its gradient

POOLS: dict[str, tuple[Callable[..., Tensor], ...]] = {
    "max": (F.max_pool1d, F.max_pool2d, F.max_pool3d),
    "avg": (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
}


def prod(x: Tensor, axis: Sequence[int] | None, keepdim: bool, dtype: torch.dtype | None = None) -> Tensor:
    """The product over several axes."""
    for i in sorted((a % x.ndim for a in (range(x.ndim) if axis is None else axis)), reverse=True):
        x = torch.prod(x, dim=i, keepdim=keepdim, dtype=dtype)
    return x


def top_k(x: Tensor, k: int, axis: int) -> tuple[Tensor, Tensor]:
    """The k largest and their indices, of equal values the first: `torch.topk` leaves open which."""
    values, indices = torch.sort(x, dim=axis, descending=True, stable=True)
    return values.narrow(axis, 0, k), indices.narrow(axis, 0, k).int()


def segment_sum(x: Tensor, segments: Tensor, count: int) -> Tensor:
    """Add up the entries `[n, ...]` that belong to each of `count` segments `[n]`."""
    return torch.zeros((count, *x.shape[1:]), dtype=x.dtype, device=x.device).index_add(0, segments, x)


def standardize(x: Tensor, axis: tuple[int, ...], eps: float) -> Tensor:
    """Mean 0 and variance 1 over axes that are not the last."""
    var, mean = torch.var_mean(x, dim=axis, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(var + eps)


def cross_entropy(
    logits: Tensor, labels: Tensor, where: Tensor | None = None, reduce: str = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """-log softmax(logits)[label] over the last axis; means are over the places where `where` is true."""
    flat = logits.reshape(-1, logits.shape[-1])
    losses = F.cross_entropy(flat, labels.reshape(-1).long(), reduction="none", label_smoothing=label_smoothing)
    return _reduced(losses.reshape(labels.shape), where, reduce)


def binary_cross_entropy(logits: Tensor, targets: Tensor, where: Tensor | None = None, reduce: str = "mean") -> Tensor:
    """softplus(x) - x * target for each logit; means are over the places where `where` is true."""
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return _reduced(losses, where, reduce)


def _reduced(losses: Tensor, where: Tensor | None, reduce: str) -> Tensor:
    if where is not None:
        losses = torch.where(where, losses, 0.0)
    axes = tuple(range(losses.ndim) if reduce == "mean" else range(1, losses.ndim))
    if reduce == "none" or not axes:
        return losses
    if where is None:
        return losses.mean(axes)
    return losses.sum(axes) / where.sum(axes).clamp(min=1)


def max_pool(x: Tensor, size: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]]) -> Tensor:
    """The largest in each window over the spatial axes of `[b, spatial..., channels]`, padded unevenly."""
    return _pool("max", _padded(x, padding, -math.inf), size, stride)


def avg_pool(x: Tensor, size: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]]) -> Tensor:
    """The mean of each window over the spatial axes of `[b, spatial..., channels]`, without the uneven padding."""
    inside = _padded(torch.ones((1, *x.shape[1:-1], 1), device=x.device), padding, 0.0)
    return _pool("avg", _padded(x, padding, 0.0), size, stride) / _pool("avg", inside, size, stride)


def _padded(x: Tensor, padding: Sequence[tuple[int, int]], value: float) -> Tensor:
    return F.pad(x, [width for pair in ((0, 0), *reversed(padding)) for width in pair], value=value)


def _pool(name: str, x: Tensor, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    return POOLS[name][len(size) - 1](x.movedim(-1, 1), tuple(size), tuple(stride)).movedim(1, -1)


def scan(
    function: Callable[..., tuple[Tensor, ...]], states: int, elements: int, *given: Tensor, key: Any = None
) -> tuple[Tensor, ...]:
    """The function on some states and each element of the first axis, one after the other, with what else it reads.

    Gives the last states, and all other results stacked. A function that draws is given a key for each element.
    """
    state, rows, shared = given[:states], given[states : states + elements], given[states + elements :]
    outs = []
    for i in range(rows[0].shape[0]):
        keys = () if key is None else (fold(key, i),)
        results = function(*state, *(row[i] for row in rows), *shared, *keys)
        state = results[:states]
        outs.append(results[states:])
    return (*state, *(torch.stack(values) for values in zip(*outs, strict=True)))


def element_keys(key: Any, elements: Tensor) -> Tensor:
    """A key for each element of the first axis."""
    return torch.as_tensor(fold(key, torch.arange(elements.shape[0], dtype=torch.int32, device=elements.device)))


def loop(function: Callable[..., Any], numbers: range, states: int, *given: Tensor, key: Any = None) -> Any:
    """The function on each number, some states and what else it reads, one after the other: gives the last states.

    A function that draws is given a key of its own for each number.
    """
    state, shared = given[:states], given[states:]
    for i in numbers:
        keys = () if key is None else (fold(key, i),)
        found = function(torch.full((), i, dtype=torch.int32, device=given[0].device), *state, *shared, *keys)
        state = found if states > 1 else (found,)
    return state if states > 1 else state[0]


def choose(index: Tensor, branches: Sequence[Callable[..., Any]], *given: Tensor) -> Any:
    """One of the functions on what is given, by its place; places outside of the list are held within."""
    result = branches[min(max(int(index), 0), len(branches) - 1)](*given)
    # what only other branches read has a gradient of zero, not none: optimizers move it on as they do elsewhere
    unread = [x.reshape(-1)[:0].sum() for x in given if isinstance(x, Tensor) and x.requires_grad]
    if not unread:
        return result
    zero = torch.stack(unread).sum()
    parts = result if isinstance(result, tuple) else (result,)
    parts = tuple(part + zero if part.is_floating_point() else part for part in parts)
    return parts if isinstance(result, tuple) else parts[0]


def select(index: Tensor, branches: Sequence[Callable[..., Any]], *given: Tensor) -> Any:
    """One of the functions on what is given, by its place, which may be another one for each row."""
    found = [branch(*given) for branch in branches]
    if not isinstance(found[0], tuple):
        return _selected(index, found)
    return tuple(_selected(index, values) for values in zip(*found, strict=True))


def _selected(index: Tensor, values: Sequence[Tensor]) -> Tensor:
    result = values[-1]
    place = index.reshape(index.shape + (1,) * (result.ndim - index.ndim))
    for number in range(len(values) - 2, -1, -1):
        result = torch.where(place <= number, values[number], result)
    return result


def eigh(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors as columns, of the symmetric part; the largest component is positive."""
    values, vectors = torch.linalg.eigh((x + x.mT) / 2)
    return values, vectors * _signs(vectors)


def svd(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Singular vectors and values; the largest component of each column of u is positive."""
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    signs = _signs(u)
    return u * signs, s, v * signs.mT


def _signs(vectors: Tensor) -> Tensor:
    """What makes the largest component of each column positive."""
    places = vectors.abs().argmax(dim=-2, keepdim=True)
    largest = torch.take_along_dim(vectors, places, dim=-2).detach()
    return torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)


def rfft(x: Tensor) -> tuple[Tensor, Tensor]:
    """The real and the imaginary parts of the frequencies of signals along the last axis."""
    found = torch.fft.rfft(x)
    return found.real, found.imag


def slice_at(x: Tensor, start: Tensor, length: int, axis: int) -> Tensor:
    """A part of a certain length along an axis; the start is held where the part lies inside."""
    places = start.clamp(0, x.shape[axis] - length) + torch.arange(length, dtype=torch.int32, device=x.device)
    return x.index_select(axis, places)


def entry_at(x: Tensor, index: Tensor | int, axis: int) -> Tensor:
    """The entry of an axis at a position that stays on the device; a negative one counts from the end."""
    if isinstance(index, int):
        return x.select(axis, index)
    return x.movedim(axis, 0)[index[None]][0]


def ctc(
    logits: Tensor, labels: Tensor, length: Tensor | None = None, label_length: Tensor | None = None, blank: int = 0
) -> Tensor:
    """-log of the probability of labels `[..., n]` under all alignments to logits `[..., steps, classes]`."""
    scores = torch.log_softmax(logits, dim=-1)
    steps, count = logits.shape[-2], labels.shape[-1]
    places = torch.stack([torch.full_like(labels, blank), labels], dim=-1).flatten(-2)
    places = torch.cat([places, torch.full_like(labels[..., :1], blank)], dim=-1).long()
    emitted = torch.take_along_dim(scores, places[..., None, :], dim=-1)
    order = torch.arange(2 * count + 1, device=logits.device)
    skips = (places != blank) & (places != places.roll(2, -1)) & (order >= 2)
    paths = torch.where(order < 2, emitted[..., 0, :], -NEVER)
    for step in range(1, steps):
        one = F.pad(paths[..., :-1], (1, 0), value=-NEVER)
        two = torch.where(skips, F.pad(paths[..., :-2], (2, 0), value=-NEVER), -NEVER)
        longer = torch.logsumexp(torch.stack([paths, one, two]), dim=0) + emitted[..., step, :]
        paths = longer if length is None else torch.where((step < length)[..., None], longer, paths)
    last = torch.full_like(labels[..., 0], count) if label_length is None else label_length
    ends = torch.take_along_dim(paths, 2 * last[..., None].long(), dim=-1)[..., 0]
    before = torch.take_along_dim(paths, (2 * last[..., None].long() - 1).clamp(min=0), dim=-1)[..., 0]
    before = torch.where(last > 0, before, -NEVER)
    return (-torch.logsumexp(torch.stack([ends, before]), dim=0)).clamp(max=NEVER)
