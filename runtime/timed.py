"""Budgets of time: which computer they were spent on is part of what a result is, and nothing repeats them exactly."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from typing import Any

from etude.compiler.workflow import Stage, Workflow

Json = Any


def is_timed(stage: Stage) -> bool:
    """Whether a stage trains for a time rather than for a number of steps."""
    return stage.kind == "train" and "seconds" in stage.spec["budget"]


def timed_stages(workflow: Workflow) -> Iterator[Stage]:
    return (stage for stage in workflow.stages.values() if is_timed(stage))


def computer() -> str:
    """The computer that a time is spent on."""
    return f"{platform.node()} {platform.machine()} {os.cpu_count()}"


def with_computer(stage: Stage, parts: Mapping[str, Json]) -> dict[str, Json]:
    """The parts of a key, of a training by time with the computer."""
    return {**parts, "computer": computer()} if is_timed(stage) else dict(parts)
