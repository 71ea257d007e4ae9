"""From a stage's spec and artifacts to the arrays that its programs start from: columns and initial weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from etude.backends.base import Array, Columns, Held, Ids, InputWeights, Streams
from etude.backends.batches import NoRowsError
from etude.backends.emission.programs import reads_clock
from etude.backends.feeding import Table
from etude.backends.numpy.fresh import fresh_weight
from etude.backends.program.dims import evaluate
from etude.backends.program.serialize import program_from_json

Json = Any


@dataclass(frozen=True)
class TrainInputs:
    """What a train stage starts from: the weights of all slots, and the columns that its programs read."""

    spec: Mapping[str, Json]
    weights: list[Array]
    data: Table
    valid: tuple[Table, Ids | Streams] | None

    @classmethod
    def of(cls, spec: Mapping[str, Json], data: Columns, valid: Held | None, weights: InputWeights) -> TrainInputs:
        assert (valid is None) == (not spec.get("valid")), "validation needs both a spec and a dataset"
        if valid is not None and 0 in row_counts(valid[1]):
            raise NoRowsError("validate on")
        held_out = (Table(valid[0], valid_columns(spec)), valid[1]) if valid is not None else None
        return cls(spec, initial_weights(spec["slots"], weights), Table(data, loss_columns(spec)), held_out)

    def changing_slots(self) -> list[int]:
        """The slots that the stage's steps change by learning: what any player updates, and batch statistics."""
        learning = {slot for player in self.spec["steps"] for slot in player["update"]}
        return sorted(learning | {i for i, slot in enumerate(self.spec["slots"]) if slot.get("running")})

    def following_slots(self) -> list[int]:
        """The slots of slow copies."""
        return sorted(slot for slot, *_ in self.spec.get("ema", ()))

    def state_dtypes(self) -> dict[str, str]:
        """What is carried from step to step, by name, each with its dtype."""
        if not self.spec.get("state"):
            return {}
        outputs = program_from_json(self.spec["state"]["init"]).sub.outputs
        return {name: value.type.dtype for name, value in outputs}

    def given_state(self) -> dict[str, Array]:
        """Those first values of the state that other stages have computed."""
        given = (self.spec.get("state") or {}).get("given", {})
        return {name: self.weights[slot] for name, slot in given.items()}

    @cached_property
    def reads_clock(self) -> bool:
        """Whether a program of the stage reads the number of the step or the share that is done."""
        valid = self.spec.get("valid")
        return reads_clock(self.spec) or bool(valid and {"@step", "@progress"} & program_columns(valid["loss"]).keys())

    def changed(self, current: Mapping[int, Array]) -> list[Array]:
        """The weights of all slots when some of them have new values."""
        return [current.get(slot, initial) for slot, initial in enumerate(self.weights)]


def row_counts(ids: Ids | Streams) -> list[int]:
    """The rows of a data set, or of each of several."""
    return [len(rows) for rows in ids.values()] if isinstance(ids, Mapping) else [len(ids)]


def program_columns(program: Json) -> dict[str, str]:
    """The columns that a stage program reads, each with its dtype."""
    return {name: dtype for name, _, (dtype, _) in program["subs"][-1]["inputs"]}


def loss_columns(spec: Mapping[str, Json]) -> dict[str, str]:
    """The columns that the losses of a train stage read."""
    return _columns([player["loss"] for player in spec["steps"]])


def valid_columns(spec: Mapping[str, Json]) -> dict[str, str]:
    """The columns that the validation of a train stage reads."""
    return _columns([spec["valid"]["loss"], spec["valid"].get("scores")])


def _columns(programs: Iterable[Json | None]) -> dict[str, str]:
    return {
        name: dtype
        for program in programs
        if program
        for name, dtype in program_columns(program).items()
        if not name.startswith("@")
    }


def output_bytes(program: Json) -> int:
    """The bytes that a row program gives for each row."""
    outputs = program_from_json(program).sub.outputs
    return sum(
        math.prod(evaluate(dim, 1) for dim in value.type.shape) * np.dtype(value.type.dtype).itemsize
        for _, value in outputs
    )


def row_table(program: Json, data: Columns) -> tuple[Table, int]:
    """The columns that a row program reads, and the bytes of a row of them and of its outputs."""
    table = Table(data, program_columns(program))
    return table, table.row_bytes() + output_bytes(program)


def empty_outputs(program: Json) -> dict[str, Array]:
    """What a row program gives for no rows."""
    outputs = program_from_json(program).sub.outputs
    return {
        name: np.zeros((0, *(evaluate(dim, 0) for dim in value.type.shape)), value.type.dtype)
        for name, value in outputs
    }


def initial_weights(slots: Iterable[Json], weights: InputWeights) -> list[Array]:
    """The value of every slot when the stage starts: drawn afresh, or taken from an input."""
    return [_initial(slot, weights) for slot in slots]


def _initial(slot: Json, weights: InputWeights) -> Array:
    source = slot["source"]
    if "fresh" in source:
        return fresh_weight(slot["shape"], slot["init"], **source["fresh"])
    weight = np.asarray(weights[source["input"]][source["index"]], dtype=slot["dtype"])
    assert list(weight.shape) == list(slot["shape"]), f"{slot['path']}: expected {slot['shape']}, got {weight.shape}"
    return weight
