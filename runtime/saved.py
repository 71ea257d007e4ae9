"""The trained models of a run: weights and forward program, as they lie in its folder."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.runtime.runs import Run, file_names

if TYPE_CHECKING:
    from etude.backends.base import Array

Json = Any
Typed = tuple[str, str, tuple[int, ...]]
"""An input or output of a row: its name, dtype and shape."""


class ModelError(Exception):
    """A run has no such model, or the model cannot do what is asked of it."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """One model of a run. Slot i of its row program `spec` has the weight at `paths[i]` of the file `weights`.

    `texts` says which inputs are tokens of texts, with the files of their tokenizers, beside that of the weights.
    """

    name: str
    run: str
    recipe: str
    backend: str
    hash: str
    weights: Path
    inputs: Sequence[Typed]
    outputs: Sequence[Typed]
    classes: Json | None
    paths: Sequence[str]
    spec: Json
    texts: Sequence[Json] = ()

    def arrays(self) -> list[Array]:
        """The weights by slot."""
        from safetensors.numpy import load_file

        held = load_file(self.weights)
        return [held[path] for path in self.paths]

    @property
    def recipe_name(self) -> str:
        """The file that the recipe is in, without the folders of the machine it was run on."""
        return Path(self.recipe).name

    @property
    def class_names(self) -> list[str] | None:
        """What the classes are called of a model with one score for each."""
        return self.classes["names"] if self.classes else None

    def signature(self) -> str:
        """The types of a row, such as `image: float32[8, 8, 1] -> output: float32[10]`."""
        return f"{typed_text(self.inputs)} -> {typed_text(self.outputs)}"


def typed_text(items: Iterable[Typed]) -> str:
    """Names with their types.

    >>> typed_text([("image", "float32", (8, 8)), ("length", "int32", ())])
    'image: float32[8, 8], length: int32[]'
    """
    return ", ".join(f"{name}: {dtype}[{', '.join(map(str, shape))}]" for name, dtype, shape in items)


def saved_model(run: Run, name: str) -> SavedModel:
    """The model that a run's recipe binds to a name. Raises `ModelError`."""
    if run.manifest is None:
        raise ModelError(f"run {run.id} is {run.status}: only runs that came to their end have models")
    known = run.manifest["models"]
    inside = [each for each in known if each.startswith(f"{name}.")]
    if name not in known and len(inside) == 1:
        name = inside[0]  # the only model of a record, as what `train` gives
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        has = (
            f"it has {', '.join(known)}" if known else "it trained none that has a name at the top level of the recipe"
        )
        raise ModelError(f"run {run.id} has no model '{name}'", hint=f"did you mean '{near[0]}'?" if near else has)
    weights = run.folder / "models" / f"{file_names([name])[name]}.safetensors"
    try:
        program = json.loads(weights.with_suffix(".json").read_bytes())
    except FileNotFoundError:
        hint = "its weights are in the folder of the run; a model takes part where it maps rows of a batch to rows"
        raise ModelError(f"'{name}' has no program of its own to be called on rows", hint=hint) from None
    return SavedModel(
        name=name,
        run=run.id,
        recipe=run.manifest["recipe"],
        backend=run.manifest["backend"],
        hash=known[name]["hash"],
        weights=weights,
        inputs=[(each, dtype, tuple(shape)) for each, dtype, shape in program["inputs"]],
        outputs=[(each, dtype, tuple(shape)) for each, dtype, shape in program["outputs"]],
        classes=program["classes"],
        paths=program["weights"],
        spec=program["spec"],
        texts=program.get("texts", ()),
    )
