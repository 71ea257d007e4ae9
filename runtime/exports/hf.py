"""A folder as people share models: weights, `config.json`, and a module for PyTorch that needs nothing of Etude."""

from __future__ import annotations

import json
from pathlib import Path

from etude.backends.eject.modules import ModuleAbout, ejected_module
from etude.runtime.exports import save_weights
from etude.runtime.saved import ModelError, SavedModel

SUFFIX = "-hf"
WEIGHTS, CONFIG, MODULE = "model.safetensors", "config.json", "model.py"


def write(model: SavedModel, target: Path) -> Path:
    """Write the folder. Raises `ModelError`."""
    if target.exists() and not target.is_dir():
        raise ModelError(f"{target} is a file, and this format is a folder", hint="name another with -o")
    target.mkdir(parents=True, exist_ok=True)
    about = ModuleAbout(model.name, model.recipe_name, model.run, [name for name, *_ in model.inputs])
    ejected = ejected_module(model.spec, [name for name, *_ in model.outputs], about)
    arrays = model.arrays()
    save_weights({path: arrays[slot] for slot, path in ejected.slots}, model, target / WEIGHTS)
    (target / CONFIG).write_text(json.dumps(config(model), indent=2) + "\n", encoding="utf-8")
    (target / MODULE).write_text(ejected.source, encoding="utf-8")
    for entry in model.texts:
        kept = model.weights.parent / entry["tokenizer"]
        (target / "tokenizer".join(kept.name.split(f"{model.weights.stem}.tokenizer", 1))).write_bytes(
            kept.read_bytes()
        )
    return target


def config(model: SavedModel) -> dict[str, object]:
    """What `config.json` says."""
    found: dict[str, object] = {
        "model_type": "etude",
        "architectures": ["Model"],
        "dtype": "float32",
        "inputs": [{"name": name, "dtype": dtype, "shape": list(shape)} for name, dtype, shape in model.inputs],
        "outputs": [{"name": name, "dtype": dtype, "shape": list(shape)} for name, dtype, shape in model.outputs],
        "etude": {"model": model.name, "recipe": model.recipe_name, "run": model.run, "hash": model.hash},
    }
    if model.class_names:
        found["id2label"] = {str(i): name for i, name in enumerate(model.class_names)}
        found["label2id"] = {name: i for i, name in enumerate(model.class_names)}
    return found
