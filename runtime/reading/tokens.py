"""Texts as the tokens that a trained model takes, by the tokenizer that its run kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from etude.runtime.arrays import Array
from etude.runtime.saved import ModelError, SavedModel

Json = Any


@dataclass(frozen=True)
class TextInput:
    """A column of texts that stands for the input `ids` of a model, and for its `mask`, if it takes one."""

    column: str
    ids: str
    mask: str | None
    length: int
    bounds: bool
    file: Path

    @property
    def names(self) -> set[str]:
        """The inputs that come of the texts."""
        return {self.ids} if self.mask is None else {self.ids, self.mask}

    @cached_property
    def tokenizer(self) -> Any:
        """Raises `ModelError` where the library is not installed, or the file is gone."""
        from etude.runtime.stages import StageError
        from etude.runtime.tokenizers import opened

        try:
            return opened(self.file.read_bytes())
        except StageError as error:
            raise ModelError(str(error)) from error

    def of(self, piece: Mapping[str, Array]) -> dict[str, Array]:
        """The inputs for a piece of the source; what does not fit into `length` is cut off, as it was in the run."""
        from etude.runtime.stages.tokenize import padded
        from etude.runtime.tokenizers import BOS, EOS, encoded

        rows = encoded(self.tokenizer, piece[self.column].tolist())
        ids, mask = padded([[BOS, *row, EOS] for row in rows] if self.bounds else rows, self.length)
        return {self.ids: ids} if self.mask is None else {self.ids: ids, self.mask: mask}


def from_texts(model: SavedModel, schema: Any) -> list[TextInput]:
    """The inputs of a model that a source has no tokens for, but texts: in the column of the run, or its only one."""
    shapes = {name: shape for name, _, shape in model.inputs}
    found = []
    for entry in model.texts:
        column = None if schema.column(entry["ids"]) is not None else _column(schema, entry["column"])
        if column is not None:
            settings = (entry["ids"], entry["mask"], shapes[entry["ids"]][0], entry["bounds"])
            found.append(TextInput(column, *settings, model.weights.parent / entry["tokenizer"]))
    return found


def _column(schema: Any, wanted: str) -> str | None:
    texts = [column.name for column in schema.columns if column.kind == "text"]
    return wanted if wanted in texts else texts[0] if len(texts) == 1 else None
