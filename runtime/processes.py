"""What trainings take of this machine's memory in a worker process, by what PyTorch and XLA were measured to take.

`benchmarks/plan_memory.py` compares it with the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from etude.backends.program.serialize import program_from_json
from etude.compiler.workflow import Workflow
from etude.compiler.workspaces import operation_count, workspace_bytes
from etude.runtime.estimates import Estimate, training_bytes

Json = Any


@dataclass(frozen=True)
class Framework:
    """A framework on a processor.

    `start` is what a process has before a training, and `operation` what each of a program's takes until it is
    compiled; `share` is what values take in the end of what their lifetimes ask for, and `workspaces` what operations
    need beside what they read and give, as shares of that.
    """

    start: int
    share: float
    operation: int = 0
    workspaces: Mapping[str, float] = field(default_factory=dict)


FRAMEWORKS: Mapping[str, Framework] = {
    # convolutions copy what they are given and what they give into oneDNN's order
    "torch": Framework(start=340_000_000, share=1.1, workspaces={"conv": 1.5, "conv_transpose": 1.5}),
    # XLA lets go of values later than it could; the gradient of a pool is a scatter, with an index for each number
    "jax": Framework(
        start=290_000_000,
        share=1.55,
        operation=1_700_000,
        workspaces={"conv": 2.0, "conv_transpose": 2.0, "max_pool": 5.5},
    ),
}


def on_processor(workflow: Workflow, estimates: Mapping[str, Estimate], backend: str) -> dict[str, Estimate]:
    """The estimates with the memory that trainings take on a processor. Members of a sweep are looked at once."""
    known: dict[int, Estimate] = {}
    found = dict(estimates)
    for id_, estimate in estimates.items():
        stage = workflow.stages[id_]
        if stage.kind != "train":
            continue
        if id(estimate) not in known:
            size = memory_bytes_of(stage.spec, estimate.pass_rows, backend)
            known[id(estimate)] = replace(estimate, device_bytes=size)
        found[id_] = known[id(estimate)]
    return found


def memory_bytes_of(spec: Mapping[str, Json], rows: int, backend: str) -> int:
    """What a training takes beside its process, in passes of so many rows."""
    framework = FRAMEWORKS[backend]
    programs = [program_from_json(player["loss"]) for player in spec["steps"]]
    largest = max(workspace_bytes(program, rows, framework.workspaces) for program in programs)
    return int(framework.share * training_bytes(spec, rows)) + largest


def process_bytes(spec: Mapping[str, Json], rows: int, backend: str) -> int:
    """What the whole process takes that does a training."""
    framework = FRAMEWORKS[backend]
    compiled = sum(operation_count(program_from_json(player["loss"])) for player in spec["steps"])
    return framework.start + framework.operation * compiled + memory_bytes_of(spec, rows, backend)
