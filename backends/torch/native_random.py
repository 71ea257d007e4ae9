"""The framework's own random numbers, for `random = "native"`: faster on accelerators, and different on each backend.

Every draw has a generator of its own that starts from the draw's key, so a run still repeats itself on one device.
Draws with a key for each row, draws within gradients that are taken inside a loss, and those that only pick a few
integers stay portable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from etude.backends.torch import random
from etude.backends.torch.random import Device, Key, beta, fold, permutation, randint, random_flip, random_shift

__all__ = [
    "bernoulli", "beta", "categorical", "dropout", "fold", "gumbel", "normal", "permutation", "randint", "random_flip",
    "random_shift", "uniform", "uniform_rows",
]  # fmt: skip

uniform_rows = random.uniform_rows


def _is_portable(key: Key) -> bool:
    """Whether a draw is left to the portable numbers: a generator can neither start from a tensor nor be mapped."""
    return not isinstance(key, int) or torch._C._functorch.peek_interpreter_stack() is not None


def _generator(key: Key, device: Device) -> torch.Generator:
    assert isinstance(key, int)
    return torch.Generator(device or "cpu").manual_seed(key)


def uniform(key: Key, shape: Sequence[int], device: Device = None) -> Tensor:
    """Uniform numbers in [0, 1)."""
    if _is_portable(key):
        return random.uniform(key, shape, device)
    return torch.rand(tuple(shape), generator=_generator(key, device), device=device)


def normal(key: Key, shape: Sequence[int], device: Device = None) -> Tensor:
    """Normal numbers."""
    if _is_portable(key):
        return random.normal(key, shape, device)
    return torch.randn(tuple(shape), generator=_generator(key, device), device=device)


def gumbel(key: Key, shape: Sequence[int], device: Device = None) -> Tensor:
    """-log(-log(u)), finite."""
    return uniform(key, shape, device).clamp_(min=2**-25).log_().neg_().log_().neg_()


def bernoulli(key: Key, p: Any, shape: Sequence[int], device: Device = None) -> Tensor:
    """True with probability `p`."""
    drawn: Tensor = uniform(key, shape, device) < p
    return drawn


def categorical(key: Key, logits: Tensor) -> Tensor:
    """A class for each of the distributions `[..., classes]`, by the Gumbel-max trick."""
    shape = logits.shape if isinstance(key, int) else logits.shape[key.ndim :]
    return torch.argmax(logits + gumbel(key, shape, logits.device), dim=-1).int()


def dropout(key: Key, x: Tensor, rate: float) -> Tensor:
    """Zero with probability `rate`, else scaled so that the mean stays."""
    keep = uniform(key, x.shape if isinstance(key, int) else x.shape[key.ndim :], x.device) >= rate
    return torch.where(keep, x / (1 - rate), 0.0)
