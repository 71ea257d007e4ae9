"""Keys: a hash of what a stage does and of what goes in. Equal keys mean equal results, whatever things are called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from msgspec import Struct

from etude.backends.ops import find
from etude.backends.program.spelling import speller
from etude.compiler.naming import placed, port_names, without
from etude.compiler.workflow import Ref, Stage, Workflow

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
# What is only for people: names of models, of columns, of fields.
HIDDEN = {"train": {"names", "columns"}, "overlap": {"names"}, "measure": {"fields"}, "plot": {"shown"}}
WORDS = {str, int, bool, type(None)}
MOST_SPELLED = 8192  # fields of specs: those that are shared come again and again
NO_OPERATIONS: frozenset[str] = frozenset()
STRUCTURAL = 1  # the same for `weight` and `call`, which have no row in the table of operations


def canonical_json(value: Json) -> bytes:
    """The one spelling of a JSON value: sorted fields, no spaces, UTF-8.

    >>> canonical_json({"b": [1, 2.0], "a": None})
    b'{"a":null,"b":[1,2.0]}'
    """
    return _spell(value).encode()


_spell = speller(ascii=False, sort=True)


def stage_key(
    stage: Stage, input_hashes: Sequence[str | None], backend: str | None, precision: str, computer: str | None = None
) -> str:
    """Hash what the stage does, its inputs by content, and the numerics that were chosen for it: `key_parts`, spelled.

    `input_hashes` follow `stage.inputs`, None for an output that a condition left unmade; a `load` has one instead: the
    fingerprint of its source. `computer` is where a time is spent or measured.
    """
    numerics = [backend, precision] if uses_backend(stage) else None
    named = "" if computer is None else f'"computer":{_spell(computer)},'
    text = (
        f'{{"backend":{_spell(numerics)},{named}"input":{_spell(list(input_hashes))},"kind":{_spell(stage.kind)},'
        f'"program":{spec_text(stage, without="seed")},"seed":{_spell(_canonical(stage.spec.get("seed")))},'
        f'"semantics":{semantics_text(stage.kind, _operations_of(stage))}}}'
    )
    return hashlib.sha256(text.encode()).hexdigest()


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
        "semantics": _semantics(stage.kind, _operations_of(stage)),
    }


def _semantics(kind: str, operations: frozenset[str]) -> dict[str, Json]:
    """The numbers of what the stage does, and of the operations in its programs."""
    numbers = {name: row.semantics if (row := find(name)) else STRUCTURAL for name in sorted(operations)}
    return {"stage": SEMANTICS[kind], "operations": numbers, **_package(kind)}


@lru_cache(maxsize=1024)
def semantics_text(kind: str, operations: frozenset[str]) -> str:
    """The same, spelled."""
    return _spell(_semantics(kind, operations))


def _package(kind: str) -> dict[str, Json]:
    """The version of the package that does what the stage says, where that is no part of this project."""
    from importlib import metadata

    name = PACKAGES.get(kind)
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
        does = _spell(stage.spec) if stage.kind == "load" else spec_text(stage)
        refs = _spell([[found[ref.stage], _port(workflow, ref)] for ref in (*stage.inputs, *stage.guards)])
        found[stage.id] = hashlib.sha256(f"[{_spell(stage.kind)},{does},{refs}]".encode()).hexdigest()[:32]
    return found


def uses_backend(stage: Stage) -> bool:
    """Whether the stage runs on the chosen backend: it trains, or its row program has weights or derivatives."""
    return stage.kind == "train" or bool(stage.spec.get("slots")) or differentiates(stage.spec)


def differentiates(spec: Mapping[str, Json]) -> bool:
    """Whether a row program takes derivatives or maps a function, which the frameworks do and numpy does not."""
    return not {"grad", "each", "scan"}.isdisjoint((spec.get("program") or {}).get("operations", ()))


def canonical_spec(stage: Stage) -> dict[str, Json]:
    """The spec without what is only for people: paths, names of models, labels, texts of claims, places of files."""
    return {name: _field(stage.kind, name, stage.spec[name]) for name in _fields(stage)}


def spec_text(stage: Stage, without: str | None = None) -> str:
    """The canonical spec in its one spelling. What stages share is spelled once: the members of a sweep have nearly
    everything in common."""
    kind, spec, parts = stage.kind, stage.spec, []
    for name in sorted(_fields(stage)):
        if name == without:
            continue
        value = spec[name]
        if type(value) in WORDS and kind != "load":
            parts.append(f"{_word(name)}:{_word(value)}")
        else:
            parts.append(f"{_word(name)}:{_spelled(stage, name).text}")
    return f"{{{','.join(parts)}}}"


def _fields(stage: Stage) -> list[str]:
    """The fields of a spec that enter its key."""
    if stage.kind == "heatmap":
        return ["expression"]
    hidden = HIDDEN.get(stage.kind, ())
    return [name for name in stage.spec if name not in hidden]


def _field(kind: str, name: str, value: Json) -> Json:
    """A field of a spec without what is only for people."""
    canonical = value if name in PLAIN else _canonical(value)
    match kind, name:
        case "load", "uri":
            return _without_place(canonical)
        case "train", "steps" | "valid" | "state" | "inputs" | "weights" | "order" | "watch":
            return placed(name, canonical)
        case "split", "parts" if isinstance(canonical, list):
            return [[str(number), share] for number, (_, share) in enumerate(canonical)]
        case "claim", "shown":
            return [expression for _, expression in canonical]
        case "table", "columns":
            return len(value)
        case "plot", "series":
            return [{**without(series, "names"), "label": ""} for series in canonical]
        case ("select", "then" | "else") | (_, "slots" | "given"):
            return _pathless(canonical)
    return canonical


class _Spelled(Struct):
    """A field of a spec as text, and the operations of the programs in it. `value` is kept, so that its id is its."""

    value: Json
    text: str
    operations: frozenset[str]


_known: dict[tuple[str, str, int], _Spelled] = {}


def _spelled(stage: Stage, name: str) -> _Spelled:
    """A field of a stage's spec, spelled once while it is the same object: nothing changes it once a stage has it."""
    value = stage.spec[name]
    place = (stage.kind, name, id(value))
    found = _known.get(place)
    if found is None:
        if len(_known) >= MOST_SPELLED:
            _known.clear()
        operations = NO_OPERATIONS if name in PLAIN else frozenset(_operations(value))
        found = _known[place] = _Spelled(value, _spell(_field(stage.kind, name, value)), operations)
    return found


@lru_cache(maxsize=4096, typed=True)
def _word(value: str | int | bool | None) -> str:
    """A name or a number that is in many specs, spelled."""
    return _spell(value)


def _operations_of(stage: Stage) -> frozenset[str]:
    """The names of the operations in all programs of a stage."""
    held = [_spelled(stage, name).operations for name, value in stage.spec.items() if type(value) not in SCALARS]
    return NO_OPERATIONS.union(*held)


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


def _port(workflow: Workflow, ref: Ref) -> str:
    """An output as the store calls it."""
    return port_names(workflow.stages[ref.stage]).get(ref.port, ref.port)


def _without_place(uri: str) -> str:
    """What kind of source a URI is; a file is known by its content alone."""
    return uri if re.match(r"[a-z][a-z0-9_+-]+:(?![\\/])", uri) else PurePath(uri).suffix.lower()


def _operations(value: Json) -> Iterator[str]:
    """The operations of all programs in a field of a spec."""
    stack: list[Json] = [value]
    while stack:
        value = stack.pop()
        if type(value) in SCALARS:
            continue
        if type(value) is dict or isinstance(value, Mapping):
            if "subs" in value:
                yield from value["operations"]
            else:
                stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
