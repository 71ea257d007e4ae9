"""What each stage of a workflow will cost on a machine: rows, steps, seconds, memory. Rough, but before it is run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from etude.backends.program.serialize import program_from_json
from etude.compiler.costs import Cost, program_cost, weight_bytes
from etude.compiler.keys import canonical_json
from etude.compiler.liveness import held_bytes
from etude.compiler.workflow import Ref, Stage, Workflow
from etude.runtime.calibration import USUAL, Rates

Json = Any
ROW_BATCH = 256  # rows at once in stages that run over rows
OPTIMIZER_STATES = {"adam": 2, "adamw": 2, "sgd": 1, "rmsprop": 1, "lion": 1, "lars": 1, "lamb": 2, "adafactor": 1}


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of a whole stage. `rows` is None where only the data would tell; then the cost is a lower bound.

    `operations` are started one after the other, in `steps` steps of a training, whose passes take `pass_rows`; `limit`
    is the memory that there is, where it is not this machine's; `given` is the time of a training whose budget it is.
    """

    flops: int = 0
    bytes: int = 0
    seconds: float = 0.0
    parameters: int = 0
    device_bytes: int = 0
    rows: int | None = None
    operations: int = 0
    steps: int = 0
    pass_rows: int = 0
    limit: int | None = None
    given: float | None = None

    @property
    def fits(self) -> bool:
        return self.device_bytes <= (memory_bytes() if self.limit is None else self.limit)


def memory_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def estimate_stages(workflow: Workflow, base: Path) -> dict[str, Estimate]:
    """Estimate every stage, by usual rates. The sizes of sources come from their descriptions."""
    rows: dict[Ref, int | None] = {}
    found: dict[str, Estimate] = {}
    costs: dict[bytes, Estimate] = {}
    for stage in workflow.stages.values():
        inputs = [rows.get(ref) for ref in stage.inputs]
        counts = _rows(stage, inputs, base)
        rows |= {Ref(stage.id, port): counts.get(port) for port in stage.outputs}
        found[stage.id] = _estimate(stage, inputs, costs)
    return found


def _rows(stage: Stage, inputs: list[int | None], base: Path) -> dict[str, int | None]:
    """How many rows each output that is a dataset has, as far as it is known."""
    spec, given = stage.spec, inputs[0] if inputs else None
    match stage.kind:
        case "load":
            from etude.runtime.sources import SourceError, describe

            try:
                return dict.fromkeys(stage.outputs, describe(spec["uri"], spec.get("options") or {}, base).rows)
            except SourceError:
                return {}
        case "split":
            parts = spec["parts"]
            if isinstance(parts, int):
                return dict.fromkeys(stage.outputs, None if given is None else given // parts)
            return {name: None if given is None else round(given * share) for name, share in parts}
        case "rows":
            return {"data": spec["count"]}
        case "sample" if spec.get("per") is not None:
            return {}
        case "sample" | "top":
            if "count" in spec:
                return {"data": spec["count"] if given is None else min(spec["count"], given)}
            return {"data": None if given is None else round(given * spec["share"])}
        case "union":
            return {"data": None if None in inputs else sum(count or 0 for count in inputs)}
        case "generate" | "episodes" | "mix":
            return {"data": spec["count"]}
        case (
            "text" | "tokenize" | "decode" | "map" | "drop" | "filter" | "subtract" | "shuffle" | "relabel" | "predict"
        ):
            return {"data": given}
    return {}


def _estimate(stage: Stage, inputs: list[int | None], known: dict[bytes, Estimate]) -> Estimate:
    """Members of a sweep differ in numbers only: what their programs cost is counted once."""
    estimate = _training if "steps" in stage.spec else _over_rows if "program" in stage.spec else None
    if estimate is None:
        return Estimate(rows=inputs[0] if inputs else None)
    place = _place(stage, inputs)
    if place not in known:
        known[place] = estimate(stage, inputs)
    return known[place]


def _place(stage: Stage, inputs: list[int | None]) -> bytes:
    """All that the cost of a stage depends on."""
    spec, valid = stage.spec, stage.spec.get("valid") or {}
    programs = [step["loss"] for step in spec.get("steps", ())] + [spec.get("program"), valid.get("loss")]
    digests = [program and program["digest"] for program in [*programs, valid.get("scores")]]
    updates = [[step["update"], step["optimizer"]["name"]] for step in spec.get("steps", ())]
    return canonical_json(
        [
            inputs,
            digests,
            updates,
            spec.get("batch"),
            spec.get("budget"),
            spec.get("accumulate"),
            valid.get("every"),
            spec.get("watch"),
            spec.get("count"),
        ]
    )


def _training(stage: Stage, inputs: list[int | None]) -> Estimate:
    from etude.backends.batches import batch_rows, steps_in
    from etude.backends.program.microbatches import parts_of

    spec = stage.spec
    rows = inputs[_first(spec["inputs"]["on"])]
    batch = batch_rows(spec["batch"], rows) if rows else spec["batch"]
    seconds = spec["budget"].get("seconds")
    steps = steps_in(spec["budget"], rows or batch, spec["batch"]) if seconds is None else 1
    least = spec.get("accumulate")
    parts = parts_of(batch, least) if isinstance(least, int) else 1
    total, parameters = Cost(), 0
    for player in spec["steps"]:
        program = program_from_json(player["loss"])
        cost = program_cost(program, batch, player["update"])
        total += cost.times(-(-steps // player.get("every", 1)))
        parameters += weight_bytes(program, player["update"]) // 4
    if seconds is not None:
        steps = max(1, int(seconds / max(_seconds(total), 1e-6)))
        total = total.times(steps)
    total += _validation_cost(stage, inputs, steps, rows or batch, batch)
    total += _probes_cost(spec, inputs, steps, rows or batch, batch)
    return Estimate(
        flops=total.flops,
        bytes=total.bytes,
        seconds=seconds or _seconds(total),
        parameters=parameters,
        device_bytes=training_bytes(spec, batch // parts),
        rows=rows,
        operations=total.operations,
        steps=steps,
        pass_rows=batch // parts,
        given=seconds,
    )


def training_bytes(spec: Mapping[str, Json], rows: int) -> int:
    """The memory of a training whose passes take so many rows each: weights, gradients, what the optimizer keeps, and
    what the programs do. Players take turns."""
    memory = 0
    for player in spec["steps"]:
        program = program_from_json(player["loss"])
        learned = weight_bytes(program, player["update"])
        states = OPTIMIZER_STATES.get(player["optimizer"]["name"], 2)
        # a process also holds what weights began with, and copies of the last good ones, the new ones and the best
        copies = weight_bytes(program) + learned * (3 if spec.get("keep") == "best" else 2)
        held = held_bytes(program, rows, player["update"])
        memory = max(memory, weight_bytes(program) + learned * (1 + states) + held.peak + copies)
    return memory


def _first(on: int | Mapping[str, int]) -> int:
    """The input whose rows make an epoch: of several data sets the first."""
    return on if isinstance(on, int) else next(iter(on.values()))


def _validation_cost(stage: Stage, inputs: list[int | None], steps: int, rows: int, batch: int) -> Cost:
    from etude.backends.batches import steps_in

    valid, index = stage.spec.get("valid"), stage.spec["inputs"].get("valid")
    held_out = None if index is None else inputs[_first(index)]
    if not valid or not held_out:
        return Cost()
    times = max(1, steps // steps_in(valid.get("every") or {"epochs": 1}, rows, batch))
    loss = program_cost(program_from_json(valid["loss"]), held_out)
    scores = program_cost(program_from_json(valid["scores"]), 1).times(held_out) if valid.get("scores") else Cost()
    return (loss + scores).times(times)


def _probes_cost(spec: Json, inputs: list[int | None], steps: int, rows: int, batch: int) -> Cost:
    from etude.backends.batches import steps_in

    watch, total = spec.get("watch"), Cost()
    for measure in watch["measures"] if watch else ():
        held_out = inputs[measure["inputs"][0]] if "spec" in measure else None
        if held_out:
            total += program_cost(program_from_json(measure["spec"]["program"]), 1).times(held_out)
    return total.times(max(1, steps // steps_in(watch["every"], rows, batch))) if watch else total


def _over_rows(stage: Stage, inputs: list[int | None]) -> Estimate:
    program = program_from_json(stage.spec["program"])
    counted = {"generate": stage.spec.get("count"), "edit": 1}  # the others go over the rows of their first input
    first = inputs[0] if inputs else 1  # a tensor of plain numbers reads nothing
    rows = counted.get(stage.kind, first)
    one = program_cost(program, 1)
    batches = -(-(rows or 1) // ROW_BATCH)
    total = Cost(one.flops * (rows or 1), one.bytes * (rows or 1), one.kept, one.operations * batches)
    weights = weight_bytes(program)
    memory = 2 * weights + held_bytes(program, 1).peak * min(rows or ROW_BATCH, ROW_BATCH)
    return Estimate(total.flops, total.bytes, _seconds(total), weights // 4, memory, rows, total.operations)


def at_rates(estimates: Mapping[str, Estimate], rates: Rates) -> dict[str, Estimate]:
    """The estimates on a machine with these rates."""
    known: dict[int, Estimate] = {}
    for estimate in estimates.values():
        if id(estimate) not in known:
            known[id(estimate)] = replace(estimate, seconds=estimate.given or _seconds(estimate, rates))
    return {stage: known[id(estimate)] for stage, estimate in estimates.items()}


def _seconds(cost: Cost | Estimate, rates: Rates = USUAL) -> float:
    """The slower of computing and moving, and what starting each operation costs."""
    moving = max(cost.flops / rates.flops_per_second, cost.bytes / rates.bytes_per_second)
    return round(moving + cost.operations * rates.seconds_per_operation, 3)
