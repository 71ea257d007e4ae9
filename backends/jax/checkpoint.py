"""The state of a JAX training run as named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from etude.backends.base import Array


def optimizer_arrays(opt_state: Any) -> dict[str, Array]:
    """Every leaf of the optimizer's state, named "optimizer.<ordinal>"."""
    return {f"optimizer.{i}": np.array(leaf) for i, leaf in enumerate(jax.tree.leaves(opt_state))}


def restored_optimizer(opt_state: Any, arrays: Mapping[str, Array]) -> Any:
    """A state of the structure of `opt_state` with the numbers that `optimizer_arrays` took."""
    leaves, structure = jax.tree.flatten(opt_state)
    return jax.tree.unflatten(structure, [jax.numpy.array(arrays[f"optimizer.{i}"]) for i in range(len(leaves))])
