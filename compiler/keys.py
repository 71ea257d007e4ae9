"""Keys: a hash of what a stage does and of what goes in. Equal keys mean equal results, whatever things are called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from etude.backends.ops import find
from etude.backends.program.spelling import speller
from etude.compiler.workflow import Stage, Workflow

Json = Any

# Raised by hand when what a stage kind does changes, so that old results are not taken for new ones.
SEMANTICS: Mapping[str, int] = {
    "load": 2,
    "split": 1,
    "sample": 1,
    "drop": 1,
    "union": 1,
    "overlap": 1,
    "subtract": 1,
    "filter": 1,
    "top": 1,
    "map": 1,
    "measure": 1,
    "fit": 1,
    "predict": 1,
    "mix": 1,
    "shuffle": 1,
    "relabel": 1,
    "episodes": 1,
    "external": 1,
    "plugin": 1,
    "train": 2,
    "generate": 1,
    "select": 1,
    "edit": 1,
    "images": 1,
    "compute": 1,
    "tensor": 1,
    "require": 1,
    "rows": 1,
    "column": 1,
    "collect": 1,
    "latency": 1,
    "claim": 1,
    "table": 1,
    "plot": 1,
    "text": 1,
    "texts": 1,
    "tokenizer": 1,
    "tokenize": 1,
    "pack": 1,
    "decode": 1,
    "heatmap": 1,
}
PACKAGES = {"fit": "scikit-learn", "predict": "scikit-learn"}
SCALARS = {str, int, float, bool, type(None)}
PLAIN = {"slots", "names", "results", "columns"}  # the long parts of a spec that hold no programs
STRUCTURAL = 1  # the same for `weight` and `call`, which have no row in the table of operations


def canonical_json(value: Json) -> bytes:
    """The one spelling of a JSON value: sorted fields, no spaces, UTF-8.

    >>> canonical_json({"b": [1, 2.0], "a": None})
    b'{"a":null,"b":[1,2.0]}'
    """
    return _spell(value).encode()


_spell = speller(ascii=False, sort=True)


def stage_key(stage: Stage, input_hashes: Sequence[str | None], backend: str | None, precision: str) -> str:
    """Hash what the stage does, its inputs by content, and the numerics that were chosen for it.

    `input_hashes` follow `stage.inputs`, None for an output that a condition left unmade; a `load` has one instead: the
    fingerprint of its source.
    """
    return parts_key(key_parts(stage, input_hashes, backend, precision))


def parts_key(parts: Mapping[str, Json]) -> str:
    """The hash of what `key_parts` gives."""
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def key_parts(stage: Stage, input_hashes: Sequence[str | None], backend: str | None, precision: str) -> dict[str, Json]:
    """All that enters a key, by what it is: `program`, `seed`, `input`, `backend`, `semantics`."""
    does = canonical_spec(stage)
    seed = does.pop("seed", None)
    return {
        "kind": stage.kind,
        "program": does,
        "seed": seed,
        "input": list(input_hashes),
        "backend": [backend, precision] if uses_backend(stage) else None,
        "semantics": {"stage": SEMANTICS[stage.kind], "operations": _operations(stage.spec), **_package(stage)},
    }


def _package(stage: Stage) -> dict[str, Json]:
    """The version of the package that does what the stage says, where that is no part of this project."""
    from importlib import metadata

    name = PACKAGES.get(stage.kind)
    if name is None:
        return {}
    try:
        return {name: metadata.version(name)}
    except metadata.PackageNotFoundError:
        return {name: None}


def recipe_keys(workflow: Workflow) -> dict[str, str]:
    """A hash for each stage of what it does and of all that leads to it, as the recipe alone tells: contents of files
    and results do not count, nor do names and the order of definitions."""
    found: dict[str, str] = {}
    for stage in workflow.stages.values():
        does = stage.spec if stage.kind == "load" else canonical_spec(stage)
        refs = [[found[ref.stage], ref.port] for ref in (*stage.inputs, *stage.guards)]
        found[stage.id] = hashlib.sha256(canonical_json([stage.kind, does, refs])).hexdigest()[:32]
    return found


def uses_backend(stage: Stage) -> bool:
    """Whether the stage runs on the chosen backend: it trains, or its row program has weights or derivatives."""
    return stage.kind == "train" or bool(stage.spec.get("slots")) or differentiates(stage.spec)


def differentiates(spec: Mapping[str, Json]) -> bool:
    """Whether a row program takes derivatives or maps a function, which the frameworks do and numpy does not."""
    return not {"grad", "each", "scan"}.isdisjoint((spec.get("program") or {}).get("operations", ()))


def canonical_spec(stage: Stage) -> dict[str, Json]:
    """The spec without what is only for people: paths, names of models, labels, texts of claims, places of files."""
    spec = {name: value if name in PLAIN else _canonical(value) for name, value in stage.spec.items()}
    match stage.kind:
        case "load":
            spec["uri"] = _without_place(spec["uri"])
        case "train" | "overlap":
            spec.pop("names", None)
            if len(spec.get("steps", ())) == 1:  # a name tells the columns of several players apart
                spec["steps"] = [{name: value for name, value in spec["steps"][0].items() if name != "name"}]
        case "claim":
            spec["shown"] = [expression for _, expression in spec.get("shown", [])]
        case "table":
            spec["expression"] = _ordered(spec["expression"])
        case "plot":
            spec["series"] = [{**series, "label": ""} for series in spec["series"]]
        case "heatmap":
            spec = {"expression": spec["expression"]}
        case "select":
            spec |= {side: _pathless(spec[side]) for side in ("then", "else") if side in spec}
    for weights in ("slots", "given"):
        if weights in spec:
            spec[weights] = _pathless(spec[weights])
    return spec


def _pathless(slots: Json) -> Json:
    return [{name: value for name, value in slot.items() if name != "path"} for slot in slots]


def canonical_program(program: Mapping[str, Json]) -> Json:
    """A serialised tensor program as what it does, without names.

    >>> program = {"subs": [{"name": "loss"}], "digest": "5f", "operations": ["add"], "modules": []}
    >>> canonical_program(program)
    {'digest': '5f', 'modules': []}
    """
    return {"digest": program["digest"], "modules": program["modules"]}


def _canonical(value: Json) -> Json:
    if type(value) in SCALARS:  # most values: asking for a Mapping takes longer
        return value
    if type(value) is dict or isinstance(value, Mapping):
        if "subs" in value:
            return canonical_program(value)
        return {name: _canonical(item) for name, item in value.items()}
    return [_canonical(item) for item in value] if isinstance(value, (list, tuple)) else value


def _ordered(expression: Json) -> Json:
    """An expression whose records are lists: the order of their fields is the order of a table's columns."""
    if isinstance(expression, Mapping):
        return [[name, _ordered(item)] for name, item in expression.items()]
    return [_ordered(item) for item in expression] if isinstance(expression, list) else expression


def _without_place(uri: str) -> str:
    """What kind of source a URI is; a file is known by its content alone."""
    return uri if re.match(r"[a-z][a-z0-9_+-]+:(?![\\/])", uri) else PurePath(uri).suffix.lower()


def _operations(spec: Mapping[str, Json]) -> dict[str, int]:
    names = {name for program in _programs(spec) for name in program["operations"]}
    return {name: operation.semantics if (operation := find(name)) else STRUCTURAL for name in sorted(names)}


def _programs(spec: Mapping[str, Json]) -> Iterator[Json]:
    """All programs in a spec, which its long parts without any are not searched for."""
    stack: list[Json] = [item for name, item in spec.items() if name not in PLAIN]
    while stack:
        value = stack.pop()
        if type(value) in SCALARS:
            continue
        if type(value) is dict or isinstance(value, Mapping):
            if "subs" in value:
                yield value
            else:
                stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
