"""A batch in parts, one after the other: gradients add up to those of the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec, get_abstract_mesh

from etude.backends.program.microbatches import parts_of

Part = Mapping[str, Array]


def accumulated(
    gradients: Callable[[dict[str, Array], Array], tuple[Any, Any]],
    batch: Part,
    key: Array,
    least: int,
    fold: Callable[[Array, Any], Array],
) -> tuple[Any, Any]:
    """The means over parts of what `gradients` gives for each: gradients, and the terms of the loss."""
    carried = {name: column for name, column in batch.items() if name.startswith("@")}
    columns = {name: column for name, column in batch.items() if name not in carried}
    parts = parts_of(len(next(iter(columns.values()))), least)
    pieces = {name: shared_out(column.reshape(parts, -1, *column.shape[1:])) for name, column in columns.items()}

    def one(total: Any, given: tuple[Array, Part]) -> tuple[Any, Any]:
        number, part = given
        grads, terms = gradients({**part, **carried}, fold(key, number))
        return jax.tree.map(jnp.add, total, grads), terms

    first = {name: column[0] for name, column in pieces.items()}
    shapes = jax.eval_shape(lambda: gradients({**first, **carried}, key))[0]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, terms = lax.scan(one, zeros, (jnp.arange(parts, dtype=jnp.uint32), pieces))
    return jax.tree.map(lambda leaf: leaf / parts, total), jax.tree.map(lambda leaf: leaf.mean(axis=0), terms)


def shared_out(pieces: Array) -> Array:
    """Parts `[parts, rows, ...]`; on a mesh each of them is shared out over all devices, not one part to a device."""
    devices = get_abstract_mesh().shape.get("data", 1)
    if pieces.shape[1] % devices or devices == 1:
        return pieces
    return lax.with_sharding_constraint(pieces, PartitionSpec(None, "data"))
