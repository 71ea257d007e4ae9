"""An ONNX file, for any number of rows."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from etude.runtime.exports import hf, metadata
from etude.runtime.saved import ModelError, SavedModel

SUFFIX = ".onnx"
NEEDS = ("torch", "onnx", "onnxscript")


def write(model: SavedModel, target: Path) -> Path:
    """Write the file. Raises `ModelError` where a package is missing, or the exporter cannot express the model."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"this format needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            hint='pip install "etude-lang[torch,onnx]"',
        )
    from etude.backends.torch.onnx import NotExpressibleError, export_onnx

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        module = hf.write(model, Path(folder) / "model") / hf.MODULE
        try:
            export_onnx(module, model.inputs, model.outputs, metadata(model), target)
        except NotExpressibleError as error:
            raise ModelError(f"PyTorch's exporter cannot express '{model.name}': {error}") from error
    return target
