"""A safetensors file: the weights under their paths in the recipe, and in its metadata where they come from."""

from __future__ import annotations

from pathlib import Path

from etude.runtime.exports import save_weights
from etude.runtime.saved import SavedModel

SUFFIX = ".safetensors"


def write(model: SavedModel, target: Path) -> Path:
    """Write the file."""
    from safetensors.numpy import load_file

    target.parent.mkdir(parents=True, exist_ok=True)
    save_weights(load_file(model.weights), model, target)
    return target
