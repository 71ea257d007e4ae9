"""Row programs on PyTorch: batch after batch, without gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etude.backends.base import Array, Columns
from etude.backends.batches import Ids, chunks, row_keys
from etude.backends.randomness import stage_key

ROW_BATCH = 256


def to_device(columns: Columns, device: torch.device) -> dict[str, Tensor]:
    """Columns as tensors on the device."""
    return {name: torch.from_numpy(np.require(column, requirements="W")).to(device) for name, column in columns.items()}


def row_bits(ids: Ids, device: torch.device) -> Tensor:
    """The 32 bits that stand for each row in draws, as the int32 tensor that emitted code expects."""
    return torch.from_numpy(row_keys(ids).view(np.int32)).to(device)


def weight_at(models: torch.nn.Module, path: str) -> Tensor:
    """The weight or buffer at a dotted path."""
    owner, _, name = path.rpartition(".")
    tensor: Tensor = getattr(models.get_submodule(owner), name)
    return tensor


def load_models(
    module: ModuleType, slots: list[tuple[int, str]], weights: list[Array], device: torch.device
) -> torch.nn.Module:
    """The emitted `Models` on the device, with these weights by slot."""
    models: torch.nn.Module = module.Models()
    models = models.to(device)
    with torch.no_grad():
        for slot, path in slots:
            weight_at(models, path).copy_(torch.tensor(weights[slot]))
    return models


@torch.inference_mode()
def run_rows(
    module: ModuleType, models: Any, spec: Mapping[str, Any], data: Columns, ids: Ids, device: torch.device
) -> dict[str, Array]:
    """Every output of `module.rows` over all rows."""
    columns, bits, key = to_device(data, device), row_bits(ids, device), stage_key(spec)
    parts = []
    for part in chunks(len(ids), ROW_BATCH):
        batch = {name: column[part] for name, column in columns.items()}
        parts.append(module.rows(models, batch, bits[part], key))
    return joined(parts)


def joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Array]:
    """The outputs of consecutive batches as one array each."""
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]} if parts else {}
