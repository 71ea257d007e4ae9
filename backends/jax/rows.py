"""Row programs on JAX: one compiled function of a full batch; the last batch is padded and cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array as Tensor

from etude.backends.base import Array, ColumnRows
from etude.backends.batches import Ids, batch_rows, chunks, of_stream, row_keys
from etude.backends.evaluation import appended
from etude.backends.feeding import Table, pieces, read_into
from etude.backends.jax.places import Place, Places

ROW_BATCH = 256
COPY_BYTES = 32 << 20
Weights = dict[str, Tensor]


def to_device(arrays: Mapping[str, Array], place: Place) -> dict[str, Tensor]:
    """Columns or weights as arrays on the device, which may be donated: none shares memory with the host's."""
    return {name: jax.device_put(array, place, may_alias=False) for name, array in arrays.items()}


def resident(table: Table, place: Place) -> dict[str, Tensor]:
    """All of a table on the device, which takes no more of the host's memory than a few MiB besides."""
    made = {}
    for name, dtype in table.dtypes.items():
        column = table[name]
        size = COPY_BYTES // max(1, np.dtype(dtype).itemsize * math.prod(column.shape[1:]))
        if len(column) > size > 0:
            made[name] = _copied(column, dtype, size, place)
        else:
            made |= to_device({name: np.asarray(column, dtype=dtype, order="C")}, place)
    return made


def _copied(column: ColumnRows, dtype: str, size: int, place: Place) -> Tensor:
    """A column on the device, `size` rows at a time."""
    made = jnp.zeros(column.shape, dtype, device=place)
    for part in chunks(len(column), size):
        start = min(part.start, len(column) - size)  # the last rows overlap those before: one program for all
        rows = np.empty((size, *column.shape[1:]), dtype)
        read_into(column, np.arange(start, start + size), rows)
        made = _filled(made, rows, start)
    return made


@partial(jax.jit, donate_argnums=0)
def _filled(column: Tensor, rows: Tensor, start: int) -> Tensor:
    return jax.lax.dynamic_update_slice_in_dim(column, rows, start, axis=0)


def row_bits(ids: Ids, place: Place) -> Tensor:
    """The 32 bits that stand for each row in draws."""
    bits: Tensor = jax.device_put(row_keys(ids), place)
    return bits


def padded_indices(rows: int, size: int) -> Iterator[tuple[int, Array]]:
    """Sequential batches of exactly `size` indices with the number that count; row 0 fills up the last one."""
    for part in chunks(rows, size):
        index = np.zeros(size, np.int32)
        index[: part.stop - part.start] = np.arange(part.start, part.stop)
        yield part.stop - part.start, index


def gather(data: Mapping[str, Tensor], index: Tensor | Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """The rows at `index` of every column, of several data sets those at the index of its stream; without one all."""
    if index is None:
        return dict(data)
    return {name: column[of_stream(index, name)] for name, column in data.items()}


@cache
def compiled(module: ModuleType, function: str) -> Callable[..., dict[str, Tensor]]:
    """`module.rows` or `module.scores` as one compiled function of resident data and indices."""
    body = getattr(module, function)

    @jax.jit
    def at(weights: tuple[Weights, ...], data: Weights, bits: Tensor, index: Tensor, key: Tensor) -> dict[str, Tensor]:
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
    size: int,
    places: Places,
) -> dict[str, Array]:
    """Every output of `module.rows` (or `scores`) over all rows, in batches of `size`."""
    program, results, counts = compiled(module, function), [], []
    for count, index in padded_indices(len(bits), batch_rows(size, len(bits))):
        at = index if places.mesh is None else jax.device_put(index, places.rows(len(index)))
        results.append(program(weights, data, bits, at, np.uint32(key)))
        counts.append(count)
    parts: list[dict[str, Any]] = jax.device_get(results)
    return appended(
        [{name: rows[:count] for name, rows in part.items()} for part, count in zip(parts, counts, strict=True)]
    )


def run_pieces(
    module: ModuleType,
    weights: tuple[Weights, ...],
    data: Table,
    ids: Ids,
    key: int,
    row_bytes: int,
    places: Places,
) -> Iterator[dict[str, Array]]:
    """Every output of `module.rows` over all rows, piece by piece; what is compiled for the first serves them all."""
    size, batch, whole = 0, ROW_BATCH * places.parts, places.whole
    for piece, rows in pieces(data, len(ids), batch, row_bytes):
        bits = row_keys(ids[piece])
        count, size = len(bits), max(size, len(bits))
        columns = to_device({name: padded(column, size) for name, column in rows.items()}, whole)
        on_device = jax.device_put(padded(bits, size), whole)
        outputs = run_rows(module, "rows", weights, columns, on_device, key, batch, places)
        yield {name: column[:count] for name, column in outputs.items()}


def prepared_rows(
    module: ModuleType, weights: tuple[Weights, ...], data: Table, ids: Ids, key: int, device: jax.Device
) -> Callable[[], object]:
    """A call of `module.rows` on all rows at once, which waits until the device is done."""
    program, columns, bits = compiled(module, "rows"), resident(data, device), row_bits(ids, device)
    index = jax.device_put(np.arange(len(ids), dtype=np.int32), device)
    return lambda: jax.block_until_ready(program(weights, columns, bits, index, np.uint32(key)))


def padded(rows: Array, size: int) -> Array:
    """`size` rows: these, and the first of them again and again."""
    if len(rows) == size:
        return rows
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])
