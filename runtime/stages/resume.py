"""`resume`: a training as a whole, or killed in its middle, or taken up from there and compared with the whole.

No stage of a recipe; see `etude.runtime.resuming`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etude.runtime.stages import Job, Result, StageError
from etude.runtime.stages.train import put_weights, run_training

if TYPE_CHECKING:
    from etude.backends.base import Array, TrainResult

Json = Any


def execute(job: Job) -> Result:
    """Do the part of the spec; the output of the last one is the comparison.

    `kill_after` is the step after which the part "killed" ends its process, and `every` after how many steps each a
    checkpoint is written.
    """
    spec = job.spec["stage"]
    if job.spec["part"] == "whole":
        trained = run_training(job, spec, None)
        objects = job.store.objects
        outputs = {"weights": put_weights(job, trained.weights), "history": objects.put_json(trained.history)}
        return Result(outputs, made={"steps": trained.steps})
    from etude.runtime.checkpoints.keeper import Pace, keeper_in

    kill_after = job.spec["kill_after"] if job.spec["part"] == "killed" else None

    def after_step(step: int) -> None:
        if kill_after is not None and step >= kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    with keeper_in(job.folder / "partial", job, Pace(steps=job.spec["every"]), after_step) as keeper:
        trained = run_training(job, spec, keeper)
    if kill_after is not None:
        raise StageError(f"the training ended at step {trained.steps}, before it could be killed")
    return Result({"comparison": job.store.objects.put_json(compared(job, trained))})


def compared(job: Job, trained: TrainResult) -> Json:
    """The training against the whole one, to the bit: where it went on, and the first difference."""
    from etude.backends.weights import load_weights

    whole = job.spec["whole"]
    history, weights = job.store.read_json(whole["history"]), load_weights(job.store.objects.path(whole["weights"]))
    difference = history_difference(history, trained.history) or weights_difference(
        [slot["path"] for slot in job.spec["stage"]["slots"]], weights, trained.weights
    )
    continued = trained.continued[-1] if trained.continued else 0
    return {"agrees": difference is None, "continued_at": continued, "difference": difference}


def history_difference(expected: Sequence[Mapping[str, Json]], found: Sequence[Mapping[str, Json]]) -> str | None:
    """The first number of two histories that differs."""
    for number, (one, other) in enumerate(zip(expected, found, strict=False), 1):
        for name in {**one, **other}:
            if one.get(name) != other.get(name):
                return f"row {number} of the history, {name}: {one.get(name)} and {other.get(name)}"
    if len(expected) != len(found):
        return f"the history has {len(expected)} and {len(found)} rows"
    return None


def weights_difference(paths: Sequence[str], expected: Sequence[Array], found: Sequence[Array]) -> str | None:
    """The first weight of two models that differs, by its bits."""
    import numpy as np

    for path, one, other in zip(paths, expected, found, strict=True):
        a, b = (np.ascontiguousarray(each).reshape(-1) for each in (one, other))
        if a.tobytes() != b.tobytes():
            size = a.dtype.itemsize
            bits = [np.frombuffer(each.tobytes(), np.uint8).reshape(-1, size) for each in (a, b)]
            first = int(np.flatnonzero((bits[0] != bits[1]).any(axis=1))[0])
            place = [int(at) for at in np.unravel_index(first, one.shape)]
            return f"{path}{place}: {a[first]!s} and {b[first]!s}"
    return None
