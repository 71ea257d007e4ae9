"""Models in the formats of others: one module for each, found by its name, with `write(model, target) -> Path`."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from etude.backends.base import Array
from etude.runtime.saved import SavedModel, typed_text


def available() -> tuple[str, ...]:
    """The names of all formats, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def write_export(model: SavedModel, kind: str, target: Path | None) -> Path:
    """Write a model in a format, by default under its name in the current folder. Raises `ModelError`."""
    module = importlib.import_module(f"{__name__}.{kind}")
    path: Path = module.write(model, target or Path(f"{model.weights.stem}{module.SUFFIX}"))
    return path


def metadata(model: SavedModel) -> dict[str, str]:
    """Where a model comes from and how it is called, as files that hold only texts can say it."""
    return {
        "format": "pt",
        "model": model.name,
        "recipe": model.recipe_name,
        "run": model.run,
        "hash": model.hash,
        "architecture": _architecture(model),
        "inputs": typed_text(model.inputs),
        "outputs": typed_text(model.outputs),
        **({"classes": json.dumps(model.class_names)} if model.class_names else {}),
    }


def save_weights(arrays: Mapping[str, Array], model: SavedModel, target: Path) -> None:
    """Write named weights as safetensors, which others may read as they may read files made here."""
    from safetensors.numpy import save

    target.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata(model)))


def _architecture(model: SavedModel) -> str:
    """What the model consists of, one line for each distinct part."""
    subs = model.spec["program"]["subs"][:-1]
    return "\n".join(dict.fromkeys(sub["doc"] or sub["name"] for sub in reversed(subs)))
