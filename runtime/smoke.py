"""Trial runs: every training of a workflow cut to a few steps, to see whether a recipe runs through.

The cut is part of what a stage does, and so of its key: no real run ever finds the result of a trial.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from etude.compiler.workflow import Stage, Workflow

Json = Any
VARIABLE = "ETUDE_SMOKE_STEPS"


def as_asked(workflow: Workflow) -> Workflow:
    """The workflow, cut to the number of steps in the environment variable ETUDE_SMOKE_STEPS if there is one."""
    steps = os.environ.get(VARIABLE)
    return capped(workflow, int(steps)) if steps else workflow


def capped(workflow: Workflow, steps: int) -> Workflow:
    """The workflow with no training of more than `steps` steps; what was given in epochs takes exactly as many."""
    return replace(workflow, stages={id: _capped(stage, steps) for id, stage in workflow.stages.items()})


def _capped(stage: Stage, steps: int) -> Stage:
    if stage.kind != "train":
        return stage
    return replace(stage, spec={**stage.spec, "budget": _budget(stage.spec["budget"], steps)})


def _budget(budget: Mapping[str, Json], steps: int) -> dict[str, int]:
    given = budget.get("steps") if len(budget) == 1 else None
    return {"steps": steps if given is None else min(steps, given)}
