"""How far a training is, as arrays and plain values from which another process goes on to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from etude.backends.base import Array, Checkpoint
from etude.backends.selection import Selection

Json = Any
WEIGHTS = "weights."


@dataclass(frozen=True)
class Snapshot:
    """A training after `step` steps: what its session carries, and what its loop knows.

    `kept` has the weights of earlier steps that may still be its result, by step, without the slots that never change.
    Nothing here is shared with the session: it may be written while the training goes on.
    """

    step: int
    state: Mapping[str, Array]
    kept: Mapping[int, Mapping[str, Array]]
    facts: Mapping[str, Json]

    @property
    def bytes(self) -> int:
        """The size of its arrays."""
        return sum(array.nbytes for arrays in (self.state, *self.kept.values()) for array in arrays.values())


class Keeper(Protocol):
    """Where snapshots of one training are kept, and when."""

    def latest(self) -> Snapshot | None:
        """The snapshot to go on from."""
        ...

    def is_due(self, step: int) -> bool:
        """Asked between steps: whether a snapshot should be taken now."""
        ...

    def keep(self, take: Callable[[], Snapshot | None], *, wait: bool = False) -> bool:
        """Take a snapshot, if there is one, and write it in the background; with `wait` it is there on return.

        False where nothing was kept: there is none, or it would take too much of the time so early.
        """
        ...


def is_finite(state: Mapping[str, Array]) -> bool:
    """Whether the weights of a session's state are worth going on from."""
    return all(bool(np.isfinite(value).all()) for name, value in state.items() if name.startswith(WEIGHTS))


def selection_facts(selection: Selection) -> dict[str, Json]:
    """What a selection knows but for the weights."""
    return {
        "best": None if selection.best is None else selection.best.step,
        "best_value": repr(selection.best_value),
        "waited": selection.waited,
        "checkpoints": [checkpoint.step for checkpoint in selection.checkpoints],
        "epochs": {str(step): checkpoint.epoch for step, checkpoint in _kept(selection).items()},
    }


def selection_weights(selection: Selection, changing: Sequence[int]) -> dict[int, dict[str, Array]]:
    """The weights that a selection holds, by step."""
    return {
        step: {f"{WEIGHTS}{slot}": checkpoint.weights[slot] for slot in changing}
        for step, checkpoint in _kept(selection).items()
    }


def restore_selection(
    selection: Selection, facts: Mapping[str, Json], kept: Mapping[int, Mapping[str, Array]], current: Sequence[Array]
) -> None:
    """Give a selection what it knew; slots that never change are those of `current`."""
    found = {
        step: Checkpoint(step, facts["epochs"][str(step)], _filled(current, weights)) for step, weights in kept.items()
    }
    selection.best = None if facts["best"] is None else found[facts["best"]]
    selection.best_value = float(facts["best_value"])
    selection.waited = facts["waited"]
    selection.checkpoints = [found[step] for step in facts["checkpoints"]]


def changing_slots(state: Mapping[str, Array]) -> list[int]:
    """The slots whose weights are part of a session's state."""
    return [int(name.removeprefix(WEIGHTS)) for name in state if name.startswith(WEIGHTS)]


def _kept(selection: Selection) -> dict[int, Checkpoint]:
    best = [] if selection.best is None else [selection.best]
    return {checkpoint.step: checkpoint for checkpoint in [*selection.checkpoints, *best]}


def _filled(current: Sequence[Array], weights: Mapping[str, Array]) -> list[Array]:
    return [weights.get(f"{WEIGHTS}{slot}", array) for slot, array in enumerate(current)]
