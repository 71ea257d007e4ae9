"""Losses and their gradients compiled by `torch.compile`: `compile = true` in a target."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from etude.backends.torch.random import signed

Loss = Callable[..., Any]


def compile_losses(module: ModuleType, *, compiler: str = "inductor") -> None:
    """Compile the losses that the steps of an emitted module call; the optimizer has compiled kernels of its own."""
    for name, loss in list(vars(module).items()):
        if name == "loss" or name.startswith("loss_"):
            setattr(module, name, compiled(loss, compiler))


def compiled(loss: Loss, compiler: str) -> Loss:
    """`loss` as one compiled program: the key, an int that changes with each step, goes in as a tensor."""
    program = torch.compile(loss, backend=compiler, fullgraph=True, dynamic=False)

    def run(models: torch.nn.Module, batch: dict[str, Tensor], *rest: Any) -> Any:
        *state, key = rest
        device = next(iter(batch.values())).device
        return program(models, batch, *state, torch.full((), signed(key), dtype=torch.int32, device=device))

    return run
