"""Row programs on JAX: one compiled function of a full batch; the last batch is padded and cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any

import jax
import numpy as np
from jax import Array as Tensor

from etude.backends.base import Array, Columns
from etude.backends.batches import Ids, batch_rows, chunks, of_stream, row_keys

ROW_BATCH = 256
Weights = dict[str, Tensor]


def to_device(arrays: Columns, device: jax.Device) -> dict[str, Tensor]:
    """Columns or weights as arrays on the device, which may be donated: none shares memory with the host's."""
    return {name: jax.device_put(array, device, may_alias=False) for name, array in arrays.items()}


def row_bits(ids: Ids, device: jax.Device) -> Tensor:
    """The 32 bits that stand for each row in draws."""
    bits: Tensor = jax.device_put(row_keys(ids), device)
    return bits


def padded_indices(rows: int, size: int) -> Iterator[tuple[int, Array]]:
    """Sequential batches of exactly `size` indices with the number that count; row 0 fills up the last one."""
    for part in chunks(rows, size):
        index = np.zeros(size, np.int32)
        index[: part.stop - part.start] = np.arange(part.start, part.stop)
        yield part.stop - part.start, index


def gather(data: Columns, index: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rows at `index` of every column, of several data sets those at the index of its stream."""
    return {name: column[of_stream(index, name)] for name, column in data.items()}


@cache
def compiled(module: ModuleType, function: str) -> Callable[..., dict[str, Tensor]]:
    """`module.rows` or `module.scores` as one compiled function of resident data and indices."""
    body = getattr(module, function)

    @jax.jit
    def at(weights: tuple[Weights, ...], data: Columns, bits: Tensor, index: Tensor, key: Tensor) -> dict[str, Tensor]:
        models = module.build(*weights) if weights else None
        result: dict[str, Tensor] = body(models, gather(data, index), bits[index], key)
        return result

    return at


def run_rows(
    module: ModuleType,
    function: str,
    weights: tuple[Weights, ...],
    data: dict[str, Tensor],
    bits: Tensor,
    key: int,
    size: int = ROW_BATCH,
) -> dict[str, Array]:
    """Every output of `module.rows` (or `scores`) over all rows, in batches of `size`."""
    program, results, counts = compiled(module, function), [], []
    for count, index in padded_indices(len(bits), batch_rows(size, len(bits))):
        results.append(program(weights, data, bits, index, np.uint32(key)))
        counts.append(count)
    parts: list[dict[str, Any]] = jax.device_get(results)
    return {
        name: np.concatenate([part[name][:count] for part, count in zip(parts, counts, strict=True)])
        for name in parts[0]
    }
