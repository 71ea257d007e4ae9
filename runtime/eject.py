"""Take a training out of Etude: its script, the inputs that it starts from, and how to run it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.backends.batches import told_apart
from etude.backends.eject import Ejected
from etude.backends.inputs import TrainInputs
from etude.backends.ordering import WeightsError, checked_weights, easiest_first, numbers
from etude.runtime.stages import Job, Settings, StageError
from etude.runtime.stages.train import held_rows, weights_inputs

if TYPE_CHECKING:
    from etude.backends.base import Array, Columns, Ids, Streams
    from etude.compiler.workflow import Stage
    from etude.runtime.results import RunResult

Json = Any
SCRIPT, INPUTS, COMMAND = "train.py", "inputs.npz", "run.sh"
NEEDS = {"torch": ("numpy", "torch"), "jax": ("numpy", "jax", "flax", "optax")}


@dataclass(frozen=True)
class Written:
    """The files of an ejected training."""

    script: Path
    inputs: Path
    command: Path


def write_ejected(folder: Path, ejected: Ejected, stage: Stage, made: RunResult) -> Written:
    """Write script, inputs and command; `made` holds what the stage depends on. Raises `StageError`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = Written(folder / SCRIPT, folder / INPUTS, folder / COMMAND)
    np.savez(written.inputs, **input_arrays(stage, made, ejected.slots))  # type: ignore[arg-type]  # none is a bool
    written.script.write_text(ejected.source, encoding="utf-8")
    written.command.write_text(_command(folder, stage, made.settings), encoding="utf-8")
    written.command.chmod(0o755)
    return written


def _command(folder: Path, stage: Stage, settings: Settings) -> str:
    needs = " ".join(NEEDS[settings.backend])
    return (
        "#!/bin/sh\n"
        f"# Trains {stage.name}; history.csv and weights.npz appear beside this file. Needs: {needs}\n"
        f'exec "${{PYTHON:-python3}}" "$(dirname "$0")/{shlex.quote(SCRIPT)}" "$@"\n'
    )


def input_arrays(stage: Stage, made: RunResult, slots: Sequence[tuple[int, str]]) -> dict[str, Array]:
    """What a script reads, by the names that `etude.backends.eject` tells. Raises `StageError` for want of rows."""
    job = Job(
        store=made.store,
        kind=stage.kind,
        spec=stage.spec,
        inputs=[made.output(ref) for ref in stage.inputs],
        settings=made.settings,
        base=made.folder,
        folder=made.folder,
    )
    if None in job.inputs:
        raise StageError(f"stage {stage.name} does not run: something that it takes is not made")
    inputs = stage.spec["inputs"]
    try:
        columns, ids = held_rows(job, inputs["on"], "train on")
        valid = None if inputs.get("valid") is None else held_rows(job, inputs["valid"], "validate on")
    except StageError as error:
        raise StageError(f"stage {stage.name}: {error}") from error
    start = TrainInputs.of(stage.spec, columns, valid, {k: job.weights(k) for k in weights_inputs(job.spec)})
    arrays = {**_identities(ids), **_grouped("data", start.data.arrays()), **_weights_at(start, slots)}
    arrays |= _grouped("state", start.given_state())
    arrays |= _order(stage, columns, ids)
    if start.valid is not None:
        held_out, rows = start.valid
        first = next(iter(rows.values())) if isinstance(rows, Mapping) else rows
        arrays |= {"valid_ids": first, **_grouped("valid", held_out.arrays())}
    return arrays


def _order(stage: Stage, columns: Columns, ids: Ids | Streams) -> dict[str, Array]:
    """The weights of rows, and which are easier than others, where their order follows them. Raises `StageError`."""
    weights, hard = ((stage.spec.get(name) or {}).get("") for name in ("weights", "order"))
    found: dict[str, Array] = {}
    try:
        found |= {} if weights is None else {"weights": checked_weights(numbers(columns, "", weights))}
    except WeightsError as error:
        raise StageError(f"stage {stage.name}: {error}") from error
    if hard is None or isinstance(ids, Mapping):
        return found
    return found | {"easy": easiest_first(numbers(columns, "", hard["column"]), ids)}


def _identities(ids: Ids | Streams) -> dict[str, Array]:
    if isinstance(ids, Mapping):
        return _grouped("ids", {name: told_apart(rows) for name, rows in ids.items()})
    return {"ids": told_apart(ids)}


def _weights_at(start: TrainInputs, slots: Sequence[tuple[int, str]]) -> dict[str, Array]:
    """The first weights by their paths, of tied ones the first."""
    groups = dict.fromkeys(start.changing_slots(), "learned") | dict.fromkeys(start.following_slots(), "slow")
    paths = dict(reversed(slots))
    return {f"{groups.get(slot, 'fixed')}/{path}": start.weights[slot] for slot, path in sorted(paths.items())}


def _grouped(group: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{group}/{name}": array for name, array in arrays.items()}
