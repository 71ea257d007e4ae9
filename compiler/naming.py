"""What the store calls the parts of a result: a name that a recipe chooses is a position there, so that another name
runs nothing. Keys and stored results have positions; people see the names of the recipe that they look at.

`{"task": "0"}` maps what a recipe calls something to what the store calls it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from etude.backends.program.ir import Sub
from etude.compiler.workflow import Stage

Json = Any
Names = Mapping[str, str]
ALIKE: Names = MappingProxyType({})
STATE, HELD = "@state.", "@held."  # the state of a loss, as a step sees it and as a validation does
TOTAL = "loss"
FIXED = ("", TOTAL, "step", "epoch", "lr")  # a term of such a name cannot be told from the column that there is
BESIDE = {"valid", "watch"}  # columns of these players cannot be told from those of validations and probes


def term_name(number: int, name: str) -> str:
    """What the store calls a term of a loss."""
    return name if name in FIXED else str(number)


def score_name(number: int, name: str, is_truth: bool, terms: Collection[str]) -> str:
    """What the store calls a score. The first one has the name that `finetune` gives it, under which results were
    stored before names were left out; one that is called as a term of the loss takes its column."""
    if name in FIXED or name in terms:
        return name
    return f"score.{number}" if number else "accuracy" if is_truth else "negative_mae"


def numbered(names: Iterable[str]) -> dict[str, str]:
    """Names by their places."""
    return {name: str(number) for number, name in enumerate(names)}


def stored_inputs(sub: Sub, streams: Sequence[str], state: Sequence[str]) -> dict[str, str]:
    """The inputs of a loss that have names of the recipe: columns of one of several data sets, and states."""
    places, states = numbered(streams), numbered(state)
    found: dict[str, str] = {}
    for name, _ in sub.inputs:
        first, _, rest = name.partition(".")
        if name.startswith((STATE, HELD)):
            found[name] = f"{first}.{states[rest]}"
        elif streams != [""] and not name.startswith("@"):
            found[name] = f"{places[first]}.{rest}"
    return found


def stored_terms(sub: Sub, state: Sequence[str]) -> dict[str, str]:
    """The outputs of a loss: its terms, and the states that it hands on."""
    terms = [name for name, _ in sub.outputs if not name.startswith(STATE)]
    carried = {STATE + name: STATE + place for name, place in numbered(state).items()}
    return {**{name: term_name(number, name) for number, name in enumerate(terms)}, **carried}


def unnamed(sub: Sub, inputs: Names, outputs: Names) -> Sub:
    """A program whose inputs and outputs are called as in the store."""
    return replace(
        sub,
        inputs=tuple((inputs.get(name, name), value) for name, value in sub.inputs),
        outputs=tuple((outputs.get(name, name), value) for name, value in sub.outputs),
    )


def result_names(stage: Stage) -> Names:
    """What a recipe calls the parts of a stage's result: the columns of a history, the fields of what is measured."""
    if stage.kind == "train":
        return {name: place for name, place in columns_of(stage.spec).items() if name != place}
    return numbered(stage.spec.get("fields", ())) if stage.kind == "measure" else {}


def columns_of(spec: Mapping[str, Json]) -> Names:
    """What the store calls each column of the history of a training."""
    return spec.get("columns") or {}


def port_names(stage: Stage) -> Names:
    """What a recipe calls the outputs of a stage where it chooses their names: the parts of a split."""
    parts = stage.spec.get("parts") if stage.kind == "split" else None
    return numbered(name for name, _ in parts) if isinstance(parts, list) else {}


def history_columns(steps: Sequence[Json], valid: Json | None, probes: Iterable[str]) -> dict[str, str]:
    """What the store calls each column of a history."""
    called = player_columns([step["name"] for step in steps])
    found: dict[str, str] = {}
    for step, (shown, stored) in zip(steps, called, strict=True):
        names = [name for name, _ in step["loss"]["subs"][-1]["outputs"] if not name.startswith("@")]
        terms = {TOTAL: TOTAL} | {name: term_name(number, name) for number, name in enumerate(names) if name}
        found |= {shown + name: stored + place for name, place in terms.items()}
    if valid is not None:
        held = {TOTAL: TOTAL, **(dict(called_losses(called)) if len(steps) > 1 else found)}
        scores = zip(valid["score_names"], valid["stored"], strict=True)
        held |= {name or "score": place or "score" for name, place in scores}
        found |= {f"valid.{name}": f"valid.{place}" for name, place in held.items()}
    found |= {f"watch.{name}": f"watch.{place}" for name, place in numbered(probes).items()}
    return {**{name: name for name in FIXED if name}, **found}


def player_columns(names: Sequence[str]) -> list[tuple[str, str]]:
    """What the columns of each player begin with, for people and in the store; nothing for a single one."""
    if len(names) == 1:
        return [("", "")]
    found = []
    for number, name in enumerate(names):
        place = f"{name}.{names[:number].count(name)}." if names.count(name) > 1 else f"{name}."
        found.append((place, place if name in BESIDE else f"{number}."))
    return found


def called_losses(called: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The loss of each of several players, for people and in the store."""
    return [(f"{shown}{TOTAL}", f"{stored}{TOTAL}") for shown, stored in called]


def renamed(value: Json, names: Names) -> Json:
    """A record, or a list of records, with other names on its fields."""
    if not names:
        return value
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    return {names.get(name, name): item for name, item in value.items()} if isinstance(value, Mapping) else value


def inverse(names: Names) -> dict[str, str]:
    """The way back: what a recipe calls what the store has."""
    return {stored: name for name, stored in names.items()}


def without(value: Mapping[str, Json], *names: str) -> dict[str, Json]:
    """A record without some of its fields."""
    return {name: item for name, item in value.items() if name not in names}


def placed(field: str, value: Json) -> Json:
    """A field of the spec of a training without the names that a recipe gives: of players, scores, states, probes, and
    of data sets where there are several."""
    match field:
        case "steps":
            return [without(step, "name") for step in value]
        case "valid" if value is not None:
            return {**without(value, "stored"), "score_names": value.get("stored", value.get("score_names"))}
        case "state":
            states = numbered(value["names"])
            given = {"given": renamed(value["given"], states)} if "given" in value else {}
            return {**value, "names": [*states.values()], **given}
        case "inputs" if isinstance(value.get("on"), Mapping):
            streams = numbered(value["on"])
            return {name: renamed(each, streams) if name != "watch" else each for name, each in value.items()}
        case "weights" | "order" if [*value] != [""]:
            return renamed(value, numbered(value))
        case "watch":
            probes = renamed(value["probes"], numbered(value["probes"]))
            measures = [{**m, "spec": without(m["spec"], "fields")} if "spec" in m else m for m in value["measures"]]
            return {**value, "probes": probes, "measures": measures}
    return value
