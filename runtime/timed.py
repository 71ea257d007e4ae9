"""Budgets of time and latencies: on which computer is part of what a result is, and nothing repeats them exactly."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

from etude.compiler.workflow import Stage, Workflow


def is_timed(stage: Stage) -> bool:
    """Whether a stage measures a time, or trains for one rather than for a number of steps."""
    return stage.kind == "latency" or (stage.kind == "train" and "seconds" in stage.spec["budget"])


def timed_stages(workflow: Workflow) -> Iterator[Stage]:
    return (stage for stage in workflow.stages.values() if is_timed(stage))


def computer() -> str:
    """The computer that a time is spent on."""
    return f"{platform.node()} {platform.machine()} {os.cpu_count()}"
