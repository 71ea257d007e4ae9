"""The last stage of a chain has the name of its binding: `x = a |> drop("y") |> pack(64)` is what `pack` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from etude.compiler.values import Dataset
from etude.compiler.workflow import Stage


def with_results_named(
    stages: Mapping[str, Stage], values: Mapping[str, Any], asked: Mapping[str, str]
) -> dict[str, Stage]:
    """The stages, where those that make the datasets of bindings have their names. `asked` has the names that stages
    would have if earlier ones of their binding had not taken them; these get their kind added."""
    last = {
        name: value.ref.stage
        for name, value in values.items()
        if isinstance(value, Dataset) and asked.get(value.ref.stage) == name and value.ref.stage in stages
    }
    if not last:
        return dict(stages)
    found = dict(stages)
    owners = {stage.name: id for id, stage in stages.items()}
    for name, id in last.items():
        first = owners.get(name)
        if first is None or first == id:
            continue
        freed = found[id].name
        found[id] = replace(found[id], name=name)
        owners[name] = id
        owners.pop(freed)
        own = f"{name}.{found[first].kind}"
        found[first] = replace(found[first], name=own if own not in owners else freed)
        owners[found[first].name] = first
    return found
