"""How each result was made: the stages behind it, and what they ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etude.compiler.draw.picture import TIMES, Box, Picture
from etude.compiler.workflow import Workflow
from etude.runtime.planning import needed_stages
from etude.runtime.results import RunResult, StageResult

Json = Any
SAID_ELSEWHERE = {"claim", "table", "plot", "heatmap", "images", "compute", "require", "tensor"}


@dataclass(frozen=True)
class Provenance:
    """Which stages each result of a workflow rests on. `classes` say what repeats what."""

    workflow: Workflow
    picture: Picture
    classes: Mapping[str, str]

    def behind(self, stage: str) -> list[str]:
        """The stages that a result rests on, in the order they run, repeated ones once: `teacher x5 (train, ..)`."""
        needed = needed_stages(self.workflow, [stage])
        counts: dict[str, int] = {}
        for id in self.workflow.stages:
            if id in needed:
                counts[self.classes[id]] = counts.get(self.classes[id], 0) + 1
        boxes = [box for box in self.picture.boxes if box.id in counts and box.kind not in SAID_ELSEWHERE]
        return [_step(box, counts[box.id]) for box in boxes]


def _step(box: Box, count: int) -> str:
    inside = [frame.rpartition(".")[2] for frame in box.frame[-1:]]
    many = f" {TIMES}{count}" if count > 1 else ""
    return f"{'.'.join([*inside, box.title])}{many} ({box.note})"


def environment(result: RunResult) -> dict[str, str]:
    """The versions, the hardware and the seeds of a run, by name."""
    from etude import __version__

    found = {
        "etude": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "backend": result.settings.backend,
        "target": result.target,
        "precision": result.settings.precision,
        "seed": str(result.workflow.seed),
    }
    for stage in result.stages.values():
        found |= _framework(stage)
    return found


def _framework(stage: StageResult) -> dict[str, str]:
    """What a stage's record says of its framework."""
    backend = stage.made.get("backend")
    if not isinstance(backend, dict):
        return {}
    found = {name: str(version) for name, version in backend.get("versions", {}).items()}
    facts = {"device": backend.get("device_name") or backend.get("device"), "threads": backend.get("threads")}
    return found | {name: str(fact) for name, fact in facts.items() if fact is not None}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
