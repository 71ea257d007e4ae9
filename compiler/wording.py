"""What a stage does, in the words of its recipe: settings by path, tensor programs as an outline of operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etude.compiler.workflow import Stage

Json = Any
# What follows from the rest of the spec, what is only for people, and the seed, which is told by itself.
DERIVED = {"identity", "names", "results", "seed", "inputs", "columns", "fields", "stored", "score_names"}


def settings_of(stage: Stage) -> dict[str, Json]:
    """Every setting of a stage by its path. A tensor program counts as `{"program": digest}`.

    >>> settings_of(Stage("s1", "few", "sample", {"share": 0.5, "seed": 3}, (), {}))
    {'share': 0.5}
    """
    if stage.kind in ("claim", "compute", "table", "plot"):
        return {"expression": stage.label or expression_text(stage.spec.get("expression")), **_shown(stage)}
    found: dict[str, Json] = {}
    for name, value in stage.spec.items():
        if name == "steps":
            found |= _steps(value)
        elif name in ("slots", "given"):
            found["weights" if name == "slots" else "given"] = [[slot["path"], _weight_text(slot)] for slot in value]
        elif name not in DERIVED:
            found |= dict(_flat(name, value))
    return found


def seeds_of(stage: Stage) -> dict[str, Json]:
    """The seeds of a stage by what they are for: its own, and those of the weights that it starts from."""
    found = {"seed": stage.spec["seed"]} if stage.spec.get("seed") is not None else {}
    for slot in _slots(stage):
        fresh = slot["source"].get("fresh")
        if fresh is not None:
            found[f"weights.{slot['path']}.seed"] = fresh["seed"]
    return found


def input_roles(stage: Stage) -> list[str]:
    """What each input is to the stage: `on`, `valid`, `weights`, or nothing better than `data`."""
    roles = ["data"] * len(stage.inputs)
    for slot in _slots(stage):
        if "input" in slot["source"]:
            roles[slot["source"]["input"]] = "weights"
    for name, index in (stage.spec.get("inputs") or {}).items():
        named = {"": index} if isinstance(index, int) else index or {}
        for stream, each in named.items():
            roles[each] = f"{name}.{stream}" if stream else name
    return roles


def programs_of(stage: Stage) -> Iterator[Json]:
    """The tensor programs of a stage."""
    yield from _programs(stage.spec)


def outline(program: Mapping[str, Json]) -> list[str]:
    """A tensor program as lines: what it does, and then each model in it, with its weights and operations.

    >>> root = {"doc": "", "name": "loss", "names": {"0": "x"}, "slots": [], "children": [],
    ...         "ops": [["mul", [0, {"literal": 2.0}], [], [[1, ["float32", []]]]]]}
    >>> outline({"subs": [root]})
    ['mul(x, 2.0)']
    """
    return [line for sub in reversed(program["subs"]) for line in _sub_lines(sub, program["subs"])]


def expression_text(expression: Json) -> str:
    """An expression over measured values: `gt(input 0, 0.5)`."""
    if not isinstance(expression, list) or not expression:
        return _text(expression)
    head, *rest = expression
    if head == "input":
        return f"input {rest[0]}"
    if head in ("number", "text") and len(rest) == 1:
        return _text(rest[0])
    return f"{head}({', '.join(map(expression_text, rest))})" if isinstance(head, str) else _text(expression)


def value_text(path: str, value: Json) -> str:
    """A setting's value as a recipe would write it.

    >>> value_text("share", 0.5), value_text("budget", {"epochs": 3}), value_text("keep", None)
    ('50%', '3epochs', 'none')
    """
    if isinstance(value, Mapping) and path.rpartition(".")[2] in ("budget", "every"):
        return ", ".join([_duration_text(unit, count) for unit, count in value.items()])
    if path.rpartition(".")[2] == "share" and isinstance(value, float):
        return f"{100 * value:g}%"
    return _text(value)


def _duration_text(unit: str, count: Json) -> str:
    least = unit.removeprefix("min_")
    amount = f"{count:g}{least}" if isinstance(count, int | float) else f"{least} {_text(count)}"
    return amount if least == unit else f"at least {amount}"


def _text(value: Json) -> str:
    import json

    words = {None: "none", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(stage: Stage) -> dict[str, Json]:
    """What the text of a claim or a table does not tell: the expression that is computed, the columns, the series."""
    rest = {name: value for name, value in stage.spec.items() if name not in ("expression", "shown")}
    computed = {"computed": expression_text(stage.spec["expression"])} if "expression" in stage.spec else {}
    return {**computed, **{path: value for name in rest for path, value in _flat(name, rest[name])}}


def _steps(steps: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """The players of a training; a single one is not named."""
    found: dict[str, Json] = {}
    for step in steps:
        prefix = f"{step.get('name')}." if len(steps) > 1 else ""
        for name, value in step.items():
            if name != "name":
                found |= dict(_flat(prefix + name, value))
    return found


def _weight_text(slot: Mapping[str, Json]) -> str:
    """A weight without its name and its seed."""
    source, init = slot["source"], slot["init"]
    fresh = source.get("fresh")
    start = init.get("kind") if len(init) == 1 else _text(init)
    come = f"{start} {fresh['structure'][:8]}.{fresh['ordinal']}" if fresh else f"input {source.get('input')}"
    at = f".{source['index']}" if "index" in source else ""
    return f"{slot['dtype']}{slot['shape']} {come}{at}"


def _slots(stage: Stage) -> Sequence[Mapping[str, Json]]:
    slots = [*(stage.spec.get("slots") or ()), *(stage.spec.get("given") or ())]
    return [slot for slot in slots if isinstance(slot, dict)]


def _flat(path: str, value: Json) -> Iterator[tuple[str, Json]]:
    if not isinstance(value, Mapping):
        yield path, value
    elif "subs" in value:
        yield path, {"program": value["digest"]}
    elif path.rpartition(".")[2] in ("budget", "every"):
        yield path, dict(value)
    else:
        for name, item in value.items():
            if name not in DERIVED:
                yield from _flat(f"{path}.{name}", item)


def _programs(value: Json) -> Iterator[Json]:
    if isinstance(value, Mapping):
        if "subs" in value:
            yield value
        else:
            for item in value.values():
                yield from _programs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _programs(item)


def _sub_lines(sub: Mapping[str, Json], subs: Sequence[Mapping[str, Json]]) -> Iterator[str]:
    if sub["doc"]:
        yield f"model {sub['doc']}"
    names = sub["names"]
    for name, kind, *_ in sub["slots"]:
        yield f"weight {name}: {kind[0]}{kind[1]}"
    for name, operands, attributes, results in sub["ops"]:
        given = [_operand(each, names) for each in operands]
        settings = dict(attributes)
        if name == "weight":
            continue
        if name == "call":
            child = subs[sub["children"][settings["child"]][1]]
            name, settings = child["doc"].partition("(")[0] or child["name"], {}
        settings.pop("has", None)
        words = [*given, *(f"{key} = {_text(value)}" for key, value in settings.items() if value is not None)]
        made = [names[str(id)] for id, _ in results if str(id) in names]
        yield f"{', '.join(made)}{' = ' if made else ''}{name}({', '.join(words)})"


def _operand(operand: Json, names: Mapping[str, str]) -> str:
    if isinstance(operand, Mapping):
        return _text(operand["literal"])
    return names.get(str(operand), "_")
