"""The state of a PyTorch training run as named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.optim import Optimizer

from etude.backends.base import Array


def optimizer_arrays(optimizers: Sequence[Optimizer]) -> dict[str, Array]:
    """Every tensor of the optimizers' states, named "optimizer.<player>.<parameter>.<entry>"."""
    return {
        f"optimizer.{player}.{parameter}.{entry}": value.detach().cpu().numpy().copy()
        for player, optimizer in enumerate(optimizers)
        for parameter, entries in optimizer.state_dict()["state"].items()
        for entry, value in entries.items()
    }


def restore_optimizers(optimizers: Sequence[Optimizer], arrays: Mapping[str, Array]) -> None:
    """Give the optimizers the states that `optimizer_arrays` took."""
    for player, optimizer in enumerate(optimizers):
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in arrays.items():
            if name.startswith(f"optimizer.{player}."):
                _, _, parameter, entry = name.split(".")
                states.setdefault(int(parameter), {})[entry] = torch.from_numpy(value.copy())
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
