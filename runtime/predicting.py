"""What a trained model says of rows that come from a file, a data source or standard input."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from etude.backends.base import Array, Backend
from etude.runtime import sources
from etude.runtime.reading.tokens import from_texts
from etude.runtime.saved import ModelError, SavedModel, Typed, typed_text

Json = Any
WIDER = {"bool": ("int32", "float32"), "int32": ("float32",)}
"""What each dtype of a file may stand for."""


def read_inputs(model: SavedModel, uri: str) -> dict[str, Array]:
    """The columns of a source that a model takes, each [rows, ...]; `-` is JSON lines from standard input.

    A model of tokens takes texts as well, and from standard input plain lines of them. Raises `ModelError` for what the
    model cannot take, `SourceError` for what cannot be read.
    """
    if uri != "-":
        return _columns(model, uri, uri)
    with tempfile.TemporaryDirectory() as folder:
        text = sys.stdin.read()
        is_plain = model.texts and not text.lstrip().startswith("{")
        path = Path(folder) / ("stdin.txt" if is_plain else "stdin.jsonl")
        path.write_text(text, encoding="utf-8")
        try:
            return _columns(model, str(path), "standard input")
        except sources.SourceError as error:
            place = f"line {error.line}: " if error.line else ""
            difference = f": expected {error.expected}, got {error.got}" if error.expected else ""
            raise ModelError(f"standard input: {place}{error.message}{difference}", hint=error.hint) from error


def _columns(model: SavedModel, uri: str, shown: str) -> dict[str, Array]:
    schema = sources.describe(uri, {}, Path())
    if schema.splits:
        is_folder = Path(uri).is_dir()
        hint = f"name one of them: {Path(uri) / schema.splits[0]}" if is_folder else "name a source of one dataset"
        raise ModelError(f"{shown} has the parts {', '.join(schema.splits)}", hint=hint)
    made = from_texts(model, schema)
    given = [wanted for wanted in model.inputs if not any(wanted[0] in each.names for each in made)]
    for wanted in given:
        _check(model, wanted, schema, shown)
    pieces = [
        {name: piece[name] for name, *_ in given} | {name: c for each in made for name, c in each.of(piece).items()}
        for piece in sources.chunks(uri, {}, Path())
    ]
    names = [name for name, *_ in model.inputs]
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in names} if pieces else {}
    empty = {name: np.empty((0, *shape)) for name, _, shape in model.inputs}
    return {name: np.ascontiguousarray((joined or empty)[name], dtype) for name, dtype, _ in model.inputs}


def _check(model: SavedModel, wanted: Typed, schema: Any, shown: str) -> None:
    name, dtype, shape = wanted
    column = schema.column(name)
    if column is None:
        there = ", ".join(f"{each.name}: {each}" for each in schema.columns)
        message = f"{shown} has no column '{name}', which '{model.name}' takes as {typed_text([wanted])}"
        text = next((each["column"] for each in model.texts if each["ids"] == name), None)
        or_text = "" if text is None else f"; texts in a column '{text}' do as well"
        raise ModelError(message, hint=f"it has {there}{or_text}")
    found = "int32" if column.kind == "label" else column.dtype
    fits = found == dtype or dtype in WIDER.get(found, ())
    if tuple(column.shape) != shape or not fits:
        raise ModelError(f"'{model.name}' takes {typed_text([wanted])}, but in {shown} it is {column}")


def predictions(model: SavedModel, columns: Mapping[str, Array], backend: Backend) -> Iterator[Json]:
    """One record for each row: the outputs by name, and the class where the model has one score for each."""
    rows = len(next(iter(columns.values())))
    ids = np.arange(rows, dtype=np.uint64)
    for piece in backend.pieces(model.spec, columns, ids, {0: model.arrays()}):
        lists = {name: plain(piece[name]) for name, *_ in model.outputs}
        scores = next(iter(piece.values()))
        best = scores.argmax(axis=1).tolist() if model.classes else None
        for i in range(len(scores)):
            record = {name: values[i] for name, values in lists.items()}
            yield record if best is None else {"class": _class(model, best[i]), **record}


def _class(model: SavedModel, index: int) -> Json:
    return index if model.class_names is None else model.class_names[index]


def plain(values: Array) -> list[Json]:
    """Numbers as JSON has them; floats with the fewest digits that tell them apart, None for what is no number."""
    if values.dtype.kind != "f":
        return list(values.tolist())
    exact = values.astype("U32").astype(np.float64) if values.size else values.astype(np.float64)
    if np.isfinite(exact).all():
        return list(exact.tolist())
    found = exact.astype(object)
    found[~np.isfinite(exact)] = None
    return list(found.tolist())
