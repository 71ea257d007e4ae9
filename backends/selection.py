"""Which weights a train stage returns: the last, the best, or all; and when it stops for want of progress."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from etude.backends.base import Array, Checkpoint

Keep = Literal["last", "best", "all"]


def judged_by(spec: Mapping[str, Any]) -> str | None:
    """What the programs of a training call the score that decides; None where the loss does."""
    names = (spec.get("valid") or {}).get("score_names")
    return names[0] if spec.get("score") is not None and names else spec.get("score")


@dataclass
class Selection:
    """Judges validations by `score` (highest) or, where it is None, by "loss" (lowest); ties go to the earliest.

    A value that is not a number is never an improvement.
    """

    keep: Keep
    score: str | None = None
    patience: int | None = None
    best: Checkpoint | None = None
    checkpoints: list[Checkpoint] = field(default_factory=list)
    best_value: float = -math.inf
    waited: int = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether `patience` validations in a row brought no improvement."""
        return self.patience is not None and self.waited >= self.patience

    def offer(
        self,
        step: int,
        epoch: float,
        weights: Sequence[Array],
        values: Mapping[str, float],
        *,
        is_checkpoint: bool = False,
    ) -> None:
        """Take note of the weights after `step` and what they were measured at."""
        checkpoint = Checkpoint(step, epoch, list(weights))
        if is_checkpoint:
            self.checkpoints.append(checkpoint)
        if not values:
            return
        value = values[self.score] if self.score is not None else -values["loss"]
        if value > self.best_value or (self.best is None and not math.isnan(value)):
            self.best, self.best_value, self.waited = checkpoint, value, 0
        else:
            self.waited += 1

    def result(self, last: Checkpoint) -> Checkpoint:
        """What the stage returns, given its last weights."""
        return self.best if self.keep == "best" and self.best is not None else last
