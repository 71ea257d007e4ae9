"""Settings of a target for some stages only, by the names that people give these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.compiler.draw.repeats import stem
from etude.compiler.keys import uses_backend
from etude.compiler.workflow import Stage, Workflow
from etude.runtime.targets import Target
from etude.runtime.targets.faults import no_such_stage
from etude.runtime.targets.file import TargetFileError
from etude.runtime.targets.settings import STAGE


def settings_by_stage(target: Target, workflow: Workflow) -> dict[str, Mapping[str, Any]]:
    """The settings of each stage that has some of its own, by its id; of two that mean a stage the later one counts.

    Raises TargetFileError for a name that no stage which runs on a backend has.
    """
    if not target.stages:
        return {}
    stages = [stage for stage in workflow.stages.values() if uses_backend(stage)]
    found: dict[str, Mapping[str, Any]] = {}
    problems = []
    for name, settings in target.stages.items():
        named = [stage for stage in stages if _is_named(stage, name)]
        found |= {stage.id: {**found.get(stage.id, {}), **settings} for stage in named}
        if not named:
            assert target.file is not None
            location = target.file.location(target.name, STAGE, name)
            near = dict.fromkeys(stem(stage.name) for stage in stages)
            problems.append(no_such_stage(name, f"the target '{target.name}'", location, near))
    if problems:
        assert target.file is not None
        raise TargetFileError(target.file.source.name, problems)
    return found


def _is_named(stage: Stage, name: str) -> bool:
    """Whether a stage is meant: by its whole name, without what stands in brackets, or by the last parts of that."""
    short = stem(stage.name)
    return name in (stage.name, short) or short.endswith(f".{name}")
