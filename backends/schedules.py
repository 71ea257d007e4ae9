"""Learning-rate schedules: the factor on each optimizer's rate at every step, in Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from etude.backends.batches import steps_in

Schedule = Callable[[int], float]


def schedule(spec: Mapping[str, Any], steps: int, *, rows: int, batch: int) -> Schedule:
    """The factor of step 0, 1, .. of `steps`.

    `spec` is {"name": "constant" | "cosine" | "linear_decay", "warmup": share or duration, "final": factor}. A warmup
    rises linearly to 1 over its share of the steps (0.05), or over a duration ({"steps": 100}); the decay falls from 1
    towards `final` (default 0) over what is left.

    >>> rate = schedule({"name": "linear_decay", "warmup": {"steps": 2}}, 6, rows=1, batch=1)
    >>> [rate(step) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    decay = _DECAYS[spec["name"]]
    warmup = _warmup_steps(spec.get("warmup", 0.0), steps, rows, batch)
    final = float(spec.get("final", 0.0))
    rest = max(1, steps - warmup)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return final + (1.0 - final) * decay((step - warmup) / rest)

    return factor


def _warmup_steps(warmup: float | Mapping[str, Any], steps: int, rows: int, batch: int) -> int:
    if isinstance(warmup, Mapping):
        return min(steps, steps_in(warmup, rows, batch))
    return round(warmup * steps)


_DECAYS: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear_decay": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
}
