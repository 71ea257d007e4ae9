"""What the stages of a workflow take on hardware that is named: memory and time, and whether it fits.

On a GPU both are estimated: memory by the lifetimes of values, time by the roofline. On TPUs trainings are compiled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from etude.backends.meshes import MeshShape, share_of_weights
from etude.backends.numerics import Precision
from etude.backends.program.dims import evaluate
from etude.backends.program.ir import StageProgram
from etude.backends.program.serialize import program_from_json
from etude.backends.program.types import BYTES
from etude.compiler.costs import weight_bytes
from etude.compiler.keys import uses_backend
from etude.compiler.liveness import held_bytes
from etude.runtime.devices import GPUS, TPUS, Accelerator
from etude.runtime.estimates import OPTIMIZER_STATES, ROW_BATCH, Estimate
from etude.runtime.topologies import CompiledStep, compile_steps

if TYPE_CHECKING:
    from etude.compiler.workflow import Stage, Workflow
    from etude.runtime.stages import Settings
    from etude.runtime.targets import Target

LAUNCH_SECONDS = 5e-6  # to start one operation on a GPU


@dataclass(frozen=True)
class OnHardware:
    """The estimates of a workflow on some hardware; `steps` has the trainings that were compiled for it, by id."""

    chip: Accelerator | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    steps: Mapping[str, CompiledStep] = field(default_factory=dict)


def on_hardware(
    workflow: Workflow,
    estimates: Mapping[str, Estimate],
    runs: Sequence[str],
    target: Target,
    settings: Settings,
) -> OnHardware:
    """The estimates for the hardware that a target names; of those that are to run, trainings are compiled for TPUs.

    Raises LibtpuMissingError.
    """
    chip = _chip(target)
    if chip is None:
        return OnHardware(None, estimates)
    found = {
        id: _on_chip(stage, estimates[id], chip, settings.of(id)) if uses_backend(stage) else estimates[id]
        for id, stage in workflow.stages.items()
    }
    if target.topology is None:
        return OnHardware(chip, found)
    trainings = [workflow.stages[id] for id in runs if workflow.stages[id].kind == "train"]
    rows = {stage.id: estimates[stage.id].rows for stage in trainings}
    steps = compile_steps(trainings, rows, settings, target.topology)
    found |= {id: _compiled(estimates[id], step, settings.of(id)) for id, step in steps.items() if not step.failure}
    return OnHardware(chip, found, steps)


def _chip(target: Target) -> Accelerator | None:
    if target.topology is not None:
        return TPUS[target.topology.partition(":")[0]]
    return None if target.chip is None else GPUS[target.chip]


def _compiled(estimate: Estimate, step: CompiledStep, settings: Settings) -> Estimate:
    """The estimate of a training whose step was compiled."""
    seconds = round(step.seconds(settings.precision) * estimate.steps, 3)
    return replace(estimate, device_bytes=step.bytes, limit=step.limit, seconds=seconds)


def _on_chip(stage: Stage, estimate: Estimate, chip: Accelerator, settings: Settings) -> Estimate:
    """The roofline, with what starting each operation costs."""
    precision, mesh = settings.precision, settings.numerics.mesh or MeshShape()
    moving = max(estimate.flops / chip.flops_per_second(precision), estimate.bytes / chip.bandwidth) / mesh.size
    is_training = stage.kind == "train"
    memory = (
        _training_bytes(stage, estimate, chip, precision, mesh) if is_training else _rows_bytes(stage, precision, mesh)
    )
    seconds = round(moving + estimate.operations * LAUNCH_SECONDS, 3)
    return replace(estimate, device_bytes=memory, limit=chip.memory, seconds=seconds)


def _training_bytes(stage: Stage, estimate: Estimate, chip: Accelerator, precision: Precision, mesh: MeshShape) -> int:
    """Weights, gradients, the state of the optimizer, what the backward pass needs, and the columns.

    On a mesh a chip has its part of the weights and of the rows; what is between layers counts as if it were not cut
    along `model`.
    """
    from etude.backends.batches import batch_rows
    from etude.backends.feeding import DEVICE_SHARE
    from etude.backends.program.microbatches import parts_of
    from etude.runtime.accumulating import with_parts

    memory, share = chip.memory * mesh.data, share_of_weights(stage.spec["slots"], mesh.model)
    spec = stage.spec if estimate.rows is None else with_parts(stage.spec, estimate.rows, memory, precision)
    batch = batch_rows(spec["batch"], estimate.rows) if estimate.rows else spec["batch"]
    parts = parts_of(batch, spec["accumulate"]) if isinstance(spec.get("accumulate"), int) else 1
    rows = batch // parts
    rows //= mesh.data if mesh.shares(rows) else 1
    states = working = columns = 0
    for player in spec["steps"]:
        program = program_from_json(player["loss"])
        learned = round(weight_bytes(program, player["update"]) * share)
        states += learned * OPTIMIZER_STATES.get(player["optimizer"]["name"], 2)
        held = held_bytes(program, rows, player["update"], precision)
        working = max(working, round(weight_bytes(program) * share) + learned + held.peak)
        columns = max(columns, _column_bytes(program, 1))
    resident = columns * (estimate.rows or batch)
    return states + working + (resident if resident * DEVICE_SHARE <= chip.memory else columns * batch)


def _column_bytes(program: StageProgram, rows: int) -> int:
    """The size of the columns that a program reads."""
    types = [value.type for name, value in program.sub.inputs if not name.startswith("@")]
    return sum(evaluate(kind.size, rows) * BYTES[kind.dtype] for kind in types)


def _rows_bytes(stage: Stage, precision: Precision, mesh: MeshShape) -> int:
    program = program_from_json(stage.spec["program"])
    weights = round(weight_bytes(program) * share_of_weights(stage.spec["slots"], mesh.model))
    copies = weights // 2 if precision == "bf16" else 0  # of all weights at most, as products read them
    return weights + copies + held_bytes(program, 1).peak * ROW_BATCH
