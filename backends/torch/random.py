"""Counter-based random numbers on PyTorch: the same bits as `backends.numpy.random`, which states the scheme.

Words are int32 tensors that hold the bits of a uint32; products wrap around. A key is an int, or an int32 tensor of
keys: every function then draws once with each, and the shape of the keys stands before the shape that is asked for.
New tensors are on the device of the keys or the values; where there are none, on `device`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from etude.backends.numpy.random import GOLDEN, MASK, TRIES, mix

Key: TypeAlias = "int | Tensor"
Device: TypeAlias = "torch.device | None"
FIRST, SECOND = 0x21F0AAAD, 0x735A2D97


def signed(word: int) -> int:
    """The int32 with the bits of a uint32."""
    return (word & MASK ^ 0x80000000) - 0x80000000


def _mix_(x: Tensor) -> Tensor:
    """Hash each word in place. `>>` copies the sign, so that the shifted-in bits are masked out."""
    x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF)).mul_(FIRST)
    x.bitwise_xor_((x >> 15).bitwise_and_(0x1FFFF)).mul_(SECOND)
    return x.bitwise_xor_((x >> 15).bitwise_and_(0x1FFFF))


def fold(key: Key, n: Any) -> Key:
    """Derive a key for use `n` of `key`; a tensor of numbers gives a tensor of keys."""
    if isinstance(n, int):
        word = mix(n + GOLDEN & MASK)
        return mix(key ^ word) if isinstance(key, int) else _mix_(key ^ signed(word))
    words = _mix_(n.to(torch.int32) + signed(GOLDEN))
    return _mix_(words ^ (signed(key) if isinstance(key, int) else key))


def bits(key: Key, shape: Sequence[int], device: Device = None) -> Tensor:
    """Uniform bits as int32, `[*key, *shape]`."""
    keys, k = ((), signed(key)) if isinstance(key, int) else (key.shape, key[..., None])
    device = device if isinstance(key, int) else key.device
    places = torch.arange(math.prod(shape), dtype=torch.int32, device=device)
    return _mix_(_mix_(places ^ k).add_(k)).reshape((*keys, *shape))


def uniform(key: Key, shape: Sequence[int], device: Device = None) -> Tensor:
    """Uniform numbers in [0, 1), multiples of 2**-24."""
    return (bits(key, shape, device) >> 8).bitwise_and_(0xFFFFFF).to(torch.float32).mul_(2**-24)


def uniform_rows(key: Key, rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Uniform numbers `[rows, *shape]`: each row sees the same, whatever the batch it is in."""
    return uniform(fold(key, rows), shape)


def normal(key: Key, shape: Sequence[int], device: Device = None) -> Tensor:
    """Normal numbers by Box and Muller (1958)."""
    radius = uniform(fold(key, 0), shape, device).neg_().log1p_().mul_(-2).sqrt_()
    return uniform(fold(key, 1), shape, device).mul_(2 * math.pi).cos_().mul_(radius)


def gumbel(key: Key, shape: Sequence[int], device: Device = None) -> Tensor:
    """-log(-log(u)), finite."""
    return uniform(key, shape, device).clamp(min=2**-25).log_().neg_().log_().neg_()


def bernoulli(key: Key, p: Any, shape: Sequence[int], device: Device = None) -> Tensor:
    """True with probability `p`."""
    drawn: Tensor = uniform(key, shape, device) < p
    return drawn


def randint(key: Key, low: Any, high: Any, shape: Sequence[int], device: Device = None) -> Tensor:
    """Integers from `low` to `high`, both included."""
    span = high - low + 1
    steps = (uniform(key, shape, device) * span).floor().to(torch.int32)
    return steps.clamp(max=span - 1) + low


def beta(key: Key, a: Any, b: Any, shape: Sequence[int], device: Device = None) -> Tensor:
    """Numbers between 0 and 1 by two gamma variables: a / (a + b) is their mean."""
    ratio = _log_gamma(fold(key, 0), a, shape, device) - _log_gamma(fold(key, 1), b, shape, device)
    return 1 / (1 + torch.exp(-ratio.clamp(-80, 80)))


def _log_gamma(key: Key, a: Any, shape: Sequence[int], device: Device) -> Tensor:
    """The logarithms of gamma variables by Marsaglia and Tsang (2000), of which TRIES proposals leave none out."""
    first = normal(fold(key, 0), shape, device)
    a = torch.as_tensor(a, dtype=torch.float32, device=first.device).detach()
    d = a + (1 - 1 / 3)
    found, done = torch.log(d).expand(first.shape), torch.zeros(first.shape, dtype=torch.bool, device=first.device)
    for number in range(TRIES):
        x = normal(fold(key, 2 * number), shape, device)
        v = (1 + x / torch.sqrt(9 * d)) ** 3
        log_v = torch.log(v.clamp(min=1e-30))
        u = torch.log(uniform(fold(key, 2 * number + 1), shape, device).clamp(min=2**-25))
        fits = (v > 0) & (u < 0.5 * x * x + d * (1 - v + log_v))
        found, done = torch.where(fits & ~done, torch.log(d) + log_v, found), done | fits
    return found + torch.log(uniform(fold(key, 2 * TRIES), shape, device).clamp(min=2**-25)) / a


def categorical(key: Key, logits: Tensor) -> Tensor:
    """A class for each of the distributions `[..., classes]`, by the Gumbel-max trick."""
    return torch.argmax(logits + gumbel(key, logits.shape[_rank(key) :], logits.device), dim=-1).int()


def permutation(key: Key, n: int, device: Device = None) -> Tensor:
    """The integers below `n` in random order; equal bits keep theirs. Flipping the sign bit orders int32 as uint32."""
    return torch.argsort(bits(key, (n,), device) ^ signed(0x80000000), dim=-1, stable=True).int()


def dropout(key: Key, x: Tensor, rate: float) -> Tensor:
    """Zero with probability `rate`, else scaled so that the mean stays."""
    keep = uniform(key, x.shape[_rank(key) :], x.device) >= rate
    return torch.where(keep, x / (1 - rate), 0.0)


def random_shift(key: Key, x: Tensor, max_shift: int) -> Tensor:
    """Move each image `[height, width, channels]` by up to `max_shift` pixels; zeros come in."""
    shape = x.shape[_rank(key) : -3]
    height, width = x.shape[-3:-1]
    down = randint(fold(key, 0), -max_shift, max_shift, shape, x.device)
    right = randint(fold(key, 1), -max_shift, max_shift, shape, x.device)
    ys, down_fits = _sources(down, height)
    xs, right_fits = _sources(right, width)
    places = (ys[..., :, None] * width + xs[..., None, :]).flatten(-2).long()  # [..., height * width]
    inside = down_fits[..., :, None, None] & right_fits[..., None, :, None]
    moved = torch.take_along_dim(x.flatten(-3, -2), places[..., None], dim=-2)
    return moved.reshape(x.shape) * inside


def _sources(shift: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """For each place of the moved image, the place that it comes from, and whether that is inside."""
    places = torch.arange(size, dtype=torch.int32, device=shift.device) - shift[..., None]
    return places.clamp(0, size - 1), (places >= 0) & (places < size)


def random_flip(key: Key, x: Tensor) -> Tensor:
    """Mirror each image `[height, width, channels]` from left to right with probability 1/2."""
    flip = bernoulli(key, 0.5, x.shape[_rank(key) : -3], x.device)
    return torch.where(flip[..., None, None, None], x.flip(-2), x)


def _rank(key: Key) -> int:
    return 0 if isinstance(key, int) else key.ndim
