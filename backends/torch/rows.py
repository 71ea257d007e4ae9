"""Row programs on PyTorch: batch after batch, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etude.backends.base import Array
from etude.backends.batches import Ids, chunks, row_keys
from etude.backends.feeding import Buffers, Table, pieces, read_into
from etude.backends.randomness import stage_key

ROW_BATCH = 256
COPY_BYTES = 32 << 20


def to_device(columns: Mapping[str, Array], device: torch.device) -> dict[str, Tensor]:
    """Columns as tensors on the device."""
    return {name: torch.from_numpy(np.require(column, requirements="W")).to(device) for name, column in columns.items()}


def resident(table: Table, device: torch.device) -> dict[str, Tensor]:
    """All of a table on the device, which takes no more of the host's memory than a few MiB besides."""
    made = {}
    for name, dtype in table.dtypes.items():
        column = table[name]
        made[name] = torch.empty(column.shape, dtype=getattr(torch, dtype), device=device)
        size = max(1, COPY_BYTES * len(column) // max(1, made[name].nbytes))
        for part in chunks(len(column), size):
            view = np.empty((min(part.stop, len(column)) - part.start, *column.shape[1:]), dtype)
            read_into(column, np.arange(part.start, part.start + len(view)), view)
            made[name][part] = torch.from_numpy(view)
    return made


def buffers(device: torch.device) -> Buffers:
    """Memory of the host that the device copies from: locked for an accelerator, and used again when it is free."""

    def make(shape: tuple[int, ...], dtype: str) -> tuple[Any, Array]:
        held = torch.empty(shape, dtype=getattr(torch, dtype), pin_memory=device.type == "cuda")
        return held, held.numpy()

    return make


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
    module: ModuleType,
    models: Any,
    spec: Mapping[str, Any],
    data: Table,
    ids: Ids,
    row_bytes: int,
    device: torch.device,
) -> Iterator[dict[str, Array]]:
    """Every output of `module.rows` over all rows, piece by piece."""
    key = stage_key(spec)
    for piece, rows in pieces(data, len(ids), ROW_BATCH, row_bytes):
        columns, bits, parts = to_device(rows, device), row_bits(ids[piece], device), []
        for part in chunks(len(bits), ROW_BATCH):
            batch = {name: column[part] for name, column in columns.items()}
            parts.append(module.rows(models, batch, bits[part], key))
        yield joined(parts)


def prepared_rows(
    module: ModuleType, models: Any, spec: Mapping[str, Any], data: Table, ids: Ids, device: torch.device
) -> Callable[[], object]:
    """A call of `module.rows` on all rows at once, which waits until the device is done."""
    columns, bits, key = resident(data, device), row_bits(ids, device), stage_key(spec)

    @torch.inference_mode()
    def call() -> object:
        outputs = module.rows(models, columns, bits, key)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return outputs

    return call


def joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Array]:
    """The outputs of consecutive batches as one array each."""
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]} if parts else {}
