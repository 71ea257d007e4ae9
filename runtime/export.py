"""Models in files: the weights of a binding, gathered from the artifacts of stages, under their paths.

The safetensors format is simple enough to be put together from pieces, so that finishing a run imports no numpy.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.compiler.keys import canonical_json
from etude.compiler.workflow import ModelBinding, Workflow
from etude.runtime.runs import file_names
from etude.runtime.store import Record, Store
from etude.runtime.store.files import make_folder, rename, replace_file, synced, temporary

Json = Any


@dataclass(frozen=True, slots=True)
class Piece:
    """One tensor's type, shape and bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def export_model(store: Store, binding: ModelBinding, outputs: Mapping[str, Mapping[str, str]]) -> str | None:
    """The object with a binding's weights as safetensors, made once; None while a stage that it needs is not done.

    `outputs` maps stages to the hashes of their ports.
    """
    sources = []
    for path, shape, source in binding.weights:
        located = _located(source, outputs)
        if located is None:
            return None
        sources.append([path, list(shape), located])
    key = hashlib.sha256(canonical_json(["export", sources])).hexdigest()
    record = store.record(key) or store.records.write(_exported(store, key, sources))
    return record.outputs["file"]


def export_models(
    store: Store, workflow: Workflow, outputs: Mapping[str, Mapping[str, str]], folder: Path
) -> dict[str, dict[str, str]]:
    """Write the models bound at the top level into a folder, as far as their stages are done. Raises `LostObject`."""
    exported = {}
    for binding in workflow.models:
        hash = export_model(store, binding, outputs)
        if hash is not None:
            path = folder / f"{file_names([binding.name])[binding.name]}.safetensors"
            place_file(store, hash, path)
            exported[binding.name] = {"hash": hash, "path": str(path)}
            program = binding.forward()
            if program is not None:
                program = {**program, "texts": _texts(store, program["texts"], outputs, path)}
                text = json.dumps(program, separators=(",", ":"))
                replace_file(path.with_suffix(".json"), text.encode(), store.scratch)
    return exported


def _texts(
    store: Store, texts: Sequence[Json], outputs: Mapping[str, Mapping[str, str]], model: Path
) -> list[dict[str, Json]]:
    """What a model's inputs have to do with texts, with the tokenizers as files beside the model."""
    found = []
    for number, entry in enumerate(texts, 1):
        stage, port = entry["tokenizer"]
        if stage in outputs:
            file = model.with_suffix(".tokenizer.json" if number == 1 else f".tokenizer-{number}.json")
            place_file(store, outputs[stage][port], file)
            found.append({**entry, "tokenizer": file.name})
    return found


def place_file(store: Store, hash: str, target: Path) -> None:
    """Put an object, verified, under a name of its own in a run's folder: a link where the file system has them.

    Raises `LostObject`.
    """
    path = store.objects.path(hash)
    make_folder(target.parent, exist_ok=True)
    try:
        os.link(path, target)
    except FileExistsError:
        return
    except OSError:
        with temporary(store.scratch) as (file, copy), path.open("rb") as source:
            shutil.copyfileobj(source, file)
            synced(file, copy)
            rename(copy, target)


def read_tensors(path: Path) -> dict[str, Piece]:
    """The tensors of a safetensors file as bytes."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        pieces = {}
        for name, entry in header.items():
            if name != "__metadata__":
                start, end = entry["data_offsets"]
                file.seek(8 + length + start)
                pieces[name] = Piece(entry["dtype"], tuple(entry["shape"]), file.read(end - start))
    return pieces


def write_tensors(store: Store, pieces: Mapping[str, Piece]) -> str:
    """Store tensors as one safetensors object, in the order given."""
    header, start = {}, 0
    for name, piece in pieces.items():
        end = start + len(piece.data)
        header[name] = {"dtype": piece.dtype, "shape": list(piece.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with store.objects.writing() as writer:
        writer.write(struct.pack("<Q", len(text)) + text)
        for piece in pieces.values():
            writer.write(piece.data)
    return writer.hash


def _located(source: Json, outputs: Mapping[str, Mapping[str, str]]) -> Json | None:
    """Where a weight is: [hash, index] in an artifact, or the recipe of a fresh one."""
    if "input" not in source:
        return source
    stage, port, index = source["input"]
    return [outputs[stage][port], index] if stage in outputs else None


def _exported(store: Store, key: str, sources: Sequence[Json]) -> Record:
    started = time.time()
    opened: dict[str, dict[str, Piece]] = {}
    hash = write_tensors(store, {path: _piece(store, shape, where, opened) for path, shape, where in sources})
    return Record(
        key=key,
        kind="export",
        outputs={"file": hash},
        objects=store.sizes({hash}),
        seconds=time.time() - started,
        created=started,
    )


def _piece(store: Store, shape: list[int], where: Json, opened: dict[str, dict[str, Piece]]) -> Piece:
    if isinstance(where, Mapping):
        return _fresh(shape, where)
    hash, index = where
    if hash not in opened:
        opened[hash] = read_tensors(store.objects.path(hash))
    piece = opened[hash][str(index)]
    assert math.prod(piece.shape) == math.prod(shape), f"expected shape {shape}, got {piece.shape}"
    return piece


def _fresh(shape: list[int], source: Mapping[str, Json]) -> Piece:
    from etude.backends.numpy.fresh import fresh_weight

    return Piece("F32", tuple(shape), fresh_weight(tuple(shape), source["init"], **source["fresh"]).tobytes())
