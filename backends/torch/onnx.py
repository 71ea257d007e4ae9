"""Models as ONNX files, through PyTorch's exporter."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

Typed = tuple[str, str, tuple[int, ...]]


class NotExpressibleError(Exception):
    """The exporter has no way to write a model down."""


def export_onnx(
    module: Path, inputs: Sequence[Typed], outputs: Sequence[Typed], notes: Mapping[str, str], target: Path
) -> None:
    """Write the model of an ejected module for any number of rows. Raises `NotExpressibleError`."""
    exported = _exported(_loaded(module), inputs, [name for name, *_ in outputs])
    for key, text in notes.items():
        exported.model.metadata_props[key] = text
    exported.save(target)


def _loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("etude_exported_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(path.parent)


def _exported(model: Any, inputs: Sequence[Typed], outputs: Sequence[str]) -> Any:
    rows = 2  # an example only: the number of rows stays open
    examples = tuple(torch.zeros((rows, *shape), dtype=getattr(torch, dtype)) for _, dtype, shape in inputs)
    batch = torch.export.Dim("rows")
    try:
        with warnings.catch_warnings(), _quiet("torch.onnx"):
            warnings.simplefilter("ignore")  # of the exporter, about itself
            return torch.onnx.export(
                model,
                examples,
                dynamo=True,
                verbose=False,
                input_names=[name for name, *_ in inputs],
                output_names=list(outputs),
                dynamic_shapes=tuple({0: batch} for _ in examples),
            )
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise NotExpressibleError(first) from error


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Let a library say nothing of packages that it could use besides."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
