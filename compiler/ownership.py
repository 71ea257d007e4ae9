"""Whose weights learn: for every player of a training, what learns, what does not, at which value, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from etude.compiler.session import Session
from etude.compiler.slots import SlotTable
from etude.compiler.values import (
    AnyOrigin,
    Origin,
    SlowOrigin,
    StartOrigin,
    StoredOrigin,
    TrainedOrigin,
    ValueOrigin,
)
from etude.compiler.workflow import Stage, Workflow

Json = Any
MADE = {"train": "trained", "edit": "computed", "select": "chosen", "fit": "fitted", "measure": "measured"}
MOST_WAYS = 3


class Weights(Struct, frozen=True):
    """Weights of one model that have the same lot in a training.

    `state` is learns, frozen, follows (a slow copy) or runs (a running statistic); `value` where the numbers come from,
    `why` what decides the state, `ways` how the loss reaches them: the models that it calls.
    """

    model: str
    state: str
    tensors: int
    numbers: int
    value: str
    why: str
    ways: tuple[str, ...]


class Player(Struct, frozen=True):
    """One player of a training, and all weights of the training as they are for it."""

    stage: str
    name: str
    weights: tuple[Weights, ...]


def players_of(session: Session, workflow: Workflow, stage: Stage) -> list[Player]:
    """The players of a training; none for a stage of another kind."""
    if stage.kind != "train":
        return []
    table: SlotTable = session.memo["slots", stage.id]
    origins = {index: origin for origin, index in table.origins.items()}
    told = _Told(workflow, stage, table, origins)
    return [told.player(index) for index in range(len(stage.spec["steps"]))]


class _Told(Struct):
    workflow: Workflow
    stage: Stage
    table: SlotTable
    origins: dict[int, AnyOrigin]

    def player(self, index: int) -> Player:
        step = self.stage.spec["steps"][index]
        ways = _ways(step["loss"])
        rows = [self._weight(index, slot, ways.get(slot, ())) for slot in range(len(self.stage.spec["slots"]))]
        return Player(self.stage.name, step["name"], tuple(_joined(rows)))

    def _weight(self, player: int, slot: int, ways: tuple[str, ...]) -> Weights:
        entry = self.stage.spec["slots"][slot]
        state, why = self._state(player, slot, entry)
        if not ways:
            why = f"{why}; this loss does not reach it" if state != "learns" else why
        size = math.prod(entry["shape"])
        return Weights(entry["path"].split(".")[0], state, 1, size, self._value(slot), why, ways)

    def _state(self, player: int, slot: int, entry: Mapping[str, Json]) -> tuple[str, str]:
        steps, origin = self.stage.spec["steps"], self.origins[slot]
        if slot in steps[player]["update"]:
            return "learns", f"in update as {steps[player]['name']}"
        if entry.get("running"):
            return "runs", "a mean of what batches have, which no gradient moves"
        if isinstance(origin, SlowOrigin):
            decay = next(decay for index, _, decay in self.stage.spec["ema"] if index == slot)
            return "follows", f"slow copy {origin.name}, {decay:g} of itself at each step"
        if isinstance(origin, StartOrigin):
            return "frozen", "as it was when the training began"
        if isinstance(origin, StoredOrigin | ValueOrigin):
            return "frozen", "a value that the loss holds"
        for other in steps:
            if slot in other["update"]:
                return "frozen", f"{other['name']} learns it, another player"
        if origin in self.table.frozen:
            return "frozen", "in what frozen(..) gave"
        if self._is_earlier(origin):
            return "frozen", "another version of what learns here"
        return "frozen", "not in update"

    def _is_earlier(self, origin: AnyOrigin) -> bool:
        learning = (self.origins[slot] for step in self.stage.spec["steps"] for slot in step["update"])
        return any(origin.fresh == each.fresh for each in learning)

    def _value(self, slot: int) -> str:
        origin = self.origins[slot]
        while isinstance(origin, SlowOrigin | StartOrigin):
            origin = origin.of
        source = self.stage.spec["slots"][slot]["source"]
        if isinstance(origin, Origin):
            return f"fresh, seed {source['fresh']['seed']}"
        made = self.workflow.stages[self.stage.inputs[source["input"]].stage]
        if isinstance(origin, TrainedOrigin):
            return f"as {MADE.get(made.kind, 'made')} by {made.name}"
        return f"as {MADE.get(made.kind, 'computed')} by {made.name}"


def _joined(rows: list[Weights]) -> Iterator[Weights]:
    """Those that differ in nothing but their sizes, as one, in the order in which the loss comes to the first."""
    groups: dict[Any, list[Weights]] = {}
    for row in rows:
        groups.setdefault((row.model, row.state, row.value, row.why, row.ways), []).append(row)
    for found in groups.values():
        first, numbers = found[0], sum(row.numbers for row in found)
        yield Weights(first.model, first.state, len(found), numbers, first.value, first.why, first.ways)


def _ways(program: Mapping[str, Json]) -> dict[int, tuple[str, ...]]:
    """For each slot the models that a loss calls, under the names that they have there, to reach it."""
    found: dict[int, dict[str, None]] = {}
    subs = program["subs"]

    def walk(sub: int, module: Json, path: str) -> None:
        for slot in module[0]:
            found.setdefault(slot, {})[path] = None
        for (_, child), below in zip(subs[sub]["children"], module[1], strict=True):
            walk(child, below, path)

    for (name, child), module in zip(subs[-1]["children"], program["modules"], strict=True):
        walk(child, module, name)
    return {slot: tuple(names)[:MOST_WAYS] for slot, names in found.items()}


def to_json(players: list[Player]) -> Json:
    """The players of a recipe's trainings as plain data."""
    return [
        {
            "stage": player.stage,
            "player": player.name,
            "weights": [
                {
                    "model": row.model,
                    "state": row.state,
                    "tensors": row.tensors,
                    "numbers": row.numbers,
                    "value": row.value,
                    "why": row.why,
                    "reached_by": list(row.ways),
                }
                for row in player.weights
            ],
        }
        for player in players
    ]
