"""The keys that a stage's draws come from: seed, what the stage is, and the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.backends.numpy.random import fold

VALIDATION = 2**32 - 1
INITIAL = 2**32 - 2


def stage_key(spec: Mapping[str, Any]) -> int:
    """The key that all draws of a stage come from: its seed and what it is."""
    seed: int = spec["seed"]
    return fold(fold(0, seed), int(spec["identity"][:8], 16))


def step_key(stage: int, step: int) -> int:
    """The key of a training step."""
    return fold(stage, step)


def validation_key(stage: int) -> int:
    """The key of every validation: each sees the same draws, and no step has this number."""
    return fold(stage, VALIDATION)


def initial_key(stage: int) -> int:
    """The key of the first state of a training; no step has this number."""
    return fold(stage, INITIAL)
