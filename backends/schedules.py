"""Learning-rate schedules: the factor on each optimizer's rate at every step, in Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from etude.backends.batches import steps_in

Schedule = Callable[[int], float]


def schedule(spec: Mapping[str, Any], steps: int, *, rows: int, batch: int) -> Schedule:
    """The factor of step 0, 1, .. of `steps`.

    `spec` is {"name": .., "warmup": share or duration, "final": factor}. A warmup rises linearly to 1 over its share of
    the steps (0.05), or over a duration ({"steps": 100}); "constant" stays there, "cosine" and "linear_decay" fall from
    1 towards `final` (default 0) over what is left. "exponential" falls to its `rate` in equal ratios, "step_decay" is
    multiplied by `rate` at each of the shares `at`, "one_cycle" rises from `start` to 1 at the share `peak` and falls.

    >>> rate = schedule({"name": "linear_decay", "warmup": {"steps": 2}}, 6, rows=1, batch=1)
    >>> [rate(step) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    decay = decay_of(spec)
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


def decay_of(spec: Mapping[str, Any]) -> Callable[[float], float]:
    """The factor by the share of the steps after the warmup, before `final` is mixed in."""
    match spec["name"]:
        case "constant":
            return lambda progress: 1.0
        case "linear_decay":
            return lambda progress: 1.0 - progress
        case "cosine":
            return lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress))
        case "exponential":
            rate = float(spec["rate"])
            return lambda progress: rate**progress
        case "step_decay":
            rate, at = float(spec["rate"]), tuple(spec["at"])
            return lambda progress: rate ** sum(progress >= share for share in at)
        case "one_cycle":
            start, peak = float(spec["start"]), float(spec["peak"])
            return lambda progress: one_cycle(progress, start, peak)
    raise ValueError(f"no schedule is called {spec['name']!r}")


def one_cycle(progress: float, start: float, peak: float) -> float:
    """From `start` up to 1 at the share `peak`, and down to 0, along two halves of a cosine (Smith and Topin, 2019).

    >>> [round(one_cycle(progress, 0.0, 0.5), 3) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < peak:
        return start + (1.0 - start) * 0.5 * (1.0 - math.cos(math.pi * progress / peak))
    return 0.5 * (1.0 + math.cos(math.pi * (progress - peak) / (1.0 - peak)))
