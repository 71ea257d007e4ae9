"""Weights in files: safetensors with the weights by ordinal, so that a file's hash does not depend on names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from etude.backends.base import Array


def weights_bytes(weights: Sequence[Array]) -> bytes:
    """The content of a file that holds `weights` under the names "0", "1", ..: equal weights are equal bytes."""
    content: bytes = save({str(i): np.asarray(weight, order="C") for i, weight in enumerate(weights)})
    return content


def save_weights(path: Path, weights: Sequence[Array]) -> None:
    """Write the file of `weights`."""
    path.write_bytes(weights_bytes(weights))


def load_weights(path: Path) -> list[Array]:
    """The weights of a file that `save_weights` wrote, in order."""
    arrays = load_file(path)
    return [arrays[str(i)] for i in range(len(arrays))]
