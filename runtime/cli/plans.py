"""What `etude plan` says: what would run, what is known already, what it would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from etude.backends.emission.stacks import SCAN
from etude.compiler.draw.picture import TIMES
from etude.compiler.draw.repeats import repeat_classes, stem
from etude.compiler.passes.scan import equal_blocks
from etude.compiler.render.ansi import Paint
from etude.runtime.cli.hardware import compiled_to_json, gigabytes, hardware_lines, mesh_lines
from etude.runtime.cli.stores import size_text
from etude.runtime.planning import BEGUN, UNNEEDED
from etude.runtime.progress.durations import duration_text

if TYPE_CHECKING:
    from etude.compiler.workflow import Workflow
    from etude.runtime.calibration import Rates
    from etude.runtime.estimates import Estimate
    from etude.runtime.hardware import OnHardware
    from etude.runtime.planning import PlannedStage
    from etude.runtime.stages import Settings
    from etude.runtime.store import Store
    from etude.runtime.targets import Target

Json = Any
ACTION_STYLES = {"run": "yellow", "cached": "green", "merged": "blue", "dropped": "grey"}
COLUMNS = 7  # before the reason: action, name, kind, weights, memory, operations and time
UNNAMED = {
    "cuda": "name a GPU to plan for it, as in gpu:h200",
    "tpu": "name a topology to plan for it, as in tpu:v5e:2x2",
}
MOST_EXPLAINED = 50  # stages whose reason says what changed in them


@dataclass(frozen=True)
class Plan:
    """A workflow with what is going to happen to each stage.

    `merged` has the other names that the recipe gives to stages, with the id of the stage that each stands for.
    """

    workflow: Workflow
    target: Target
    stages: Mapping[str, PlannedStage]
    estimates: Mapping[str, Estimate]
    merged: Sequence[tuple[str, PlannedStage]] = ()
    hardware: OnHardware | None = None
    rates: Rates | None = None

    @property
    def runs(self) -> list[str]:
        """The ids of the stages that would be executed."""
        return [id for id, planned in self.stages.items() if planned.action == "run"]

    def seconds(self, id: str) -> float:
        """What a stage took, where it was run before, else the estimate."""
        record = self.stages[id].record
        return record.seconds if record else self.estimates[id].seconds

    def cost(self, id: str) -> dict[str, Json]:
        """The field `cost` of a stage in JSON."""
        found = self.estimates[id]
        return {
            "flops": found.flops,
            "bytes": found.bytes,
            "seconds": self.seconds(id),
            "parameters": found.parameters,
        }


def make_plan(workflow: Workflow, target: Target, settings: Settings, store: Store, base: Path) -> Plan:
    """Probe the store and estimate what is left."""
    from etude.runtime.estimates import estimate_stages
    from etude.runtime.planning import plan_stages

    planned = plan_stages(workflow, store, settings, base)
    _explain(workflow, planned, settings, store)
    plan = Plan(workflow, target, planned, estimate_stages(workflow, base), _merged(workflow, planned))
    if target.chip is None and target.topology is None:
        return _calibrated(plan)
    from etude.runtime.hardware import on_hardware

    found = on_hardware(workflow, plan.estimates, plan.runs, target, settings)
    return replace(plan, estimates=found.estimates, hardware=found)


def _calibrated(plan: Plan) -> Plan:
    """The plan with the times of this machine, which is measured when there is something to compute."""
    if plan.target.device not in ("cpu", "auto") or not any(plan.estimates[id].operations for id in plan.runs):
        return plan
    from etude.runtime.calibration import machine_rates
    from etude.runtime.estimates import at_rates
    from etude.runtime.processes import on_processor

    assert plan.target.backend is not None
    rates, sized = machine_rates(), on_processor(plan.workflow, plan.estimates, plan.target.backend)
    return replace(plan, estimates=at_rates(sized, rates), rates=rates)


def _explain(workflow: Workflow, planned: dict[str, PlannedStage], settings: Settings, store: Store) -> None:
    """Say of the stages where changes begin what changed, where the store can tell."""
    starts = [id for id, each in planned.items() if each.action == "run" and each.identity][:MOST_EXPLAINED]
    if not starts or not (store.root / "accounts.sqlite").exists():
        return
    from etude.runtime.explaining import Explainer

    explainer = Explainer(workflow, planned, store, settings)
    for id in starts:
        found = explainer.explain(id)
        begun = planned[id].reason if planned[id].reason.startswith(BEGUN) else ""
        if found.changed and not found.is_of_another:
            planned[id] = replace(planned[id], reason=f"{found.reason}; {begun}" if begun else found.reason)
        elif found.compared_with and not found.changed and not begun:
            planned[id] = replace(planned[id], reason=found.reason)  # recorded, and lost since


def _merged(workflow: Workflow, planned: Mapping[str, PlannedStage]) -> list[tuple[str, PlannedStage]]:
    """The other names of stages, each told apart from the names of other stages."""
    taken = {stage.name for stage in workflow.stages.values()} if workflow.aliases else set()
    found: list[tuple[str, PlannedStage]] = []
    for id, names in workflow.aliases.items():
        stage = workflow.stages[id]
        for name in names:
            shown = f"{name}.{stage.kind}" if name in taken else name
            taken.add(shown)
            other = structs.replace(stage, id=f"{id}+{len(found) + 1}", name=shown)
            reason = f"the same as {stage.name}"
            found.append((id, replace(planned[id], stage=other, action="merged", reason=reason)))
    return found


def plan_to_json(plan: Plan) -> Json:
    """The object of `etude plan --json`."""
    rows = plan.stages.items()
    return {
        "recipe": plan.workflow.recipe,
        "backend": plan.target.backend,
        "target": plan.target.name,
        "stages": [_stage_to_json(plan, id, planned) for id, planned in (*rows, *plan.merged)],
        "totals": totals(plan),
        "passes": _passes(plan),
        "rates": None if plan.rates is None else asdict(plan.rates),
    }


def _stage_to_json(plan: Plan, id: str, planned: PlannedStage) -> Json:
    """A stage of the plan; `id` is that of the stage whose cost it has."""
    stage, estimate = planned.stage, plan.estimates[id]
    return {
        "id": stage.id,
        "name": stage.name,
        "kind": stage.kind,
        "key": planned.key,
        "action": planned.action,
        "reason": planned.reason,
        "inputs": list(dict.fromkeys([ref.stage for ref in stage.inputs])),
        "cost": plan.cost(id),
        "memory": {"device_bytes": estimate.device_bytes, "fits": estimate.fits},
        **(compiled_to_json(plan.hardware, id) if plan.hardware else {}),
        "pass": [SCAN] if blocks_to_scan(plan, planned) else [],
    }


def _passes(plan: Plan) -> list[Json]:
    """What was saved by making equal stages one, and by leaving out what nothing needs."""
    dropped = [id for id, planned in plan.stages.items() if planned.reason == UNNEEDED]
    stages, cost = len(plan.stages), sum(estimate.flops for estimate in plan.estimates.values())
    merges = sum(plan.estimates[id].flops for id, _ in plan.merged)
    drops = sum(plan.estimates[id].flops for id in dropped)
    found = []
    for name, more, saved, before in (
        ("merge equal stages", len(plan.merged), merges, stages + len(plan.merged)),
        ("drop unreachable", len(dropped), drops, stages),
    ):
        if more:
            all = cost + (saved if plan.merged and name.startswith("merge") else 0)
            share = f"{100 * saved / all:.0f} % of the FLOPs" if saved else f"{more} of {before} stages"
            found.append({"name": name, "stages_before": before, "stages_after": before - more, "saved": share})
    return found


def totals(plan: Plan) -> dict[str, Json]:
    """How many stages would run, and what they would cost together."""
    actions = [planned.action for planned in plan.stages.values()]
    return {
        "run": actions.count("run"),
        "cached": actions.count("cached"),
        "merged": actions.count("merged") + len(plan.merged),
        "dropped": actions.count("dropped"),
        "flops": sum(plan.estimates[id].flops for id in plan.runs),
        "seconds": round(sum(plan.estimates[id].seconds for id in plan.runs), 3),
    }


def plan_to_text(plan: Plan, paint: Paint) -> str:
    """A line for each stage; repeated ones that fare alike share one."""
    classes = repeat_classes(plan.workflow)
    groups: dict[tuple[str, str], list[str]] = {}
    for id, planned in plan.stages.items():
        groups.setdefault((classes[id], planned.action), []).append(id)
    rows = [_row(plan, members) for members in groups.values()]
    rows += _merged_rows(plan)
    widths = [max(len(row[i]) for row in rows) if rows else 0 for i in range(COLUMNS)]
    lines = [_line(row, widths, paint) for row in rows]
    lines.append(_total_line(plan, paint))
    lines += [paint(line, "grey") for line in _process_lines(plan)]
    lines += hardware_lines(plan.hardware, plan.stages, paint) if plan.hardware else []
    lines += mesh_lines(plan.target, paint)
    if plan.target.device in UNNAMED and (plan.hardware is None or plan.hardware.chip is None):
        lines.append(paint(f"memory and times are this processor's; {UNNAMED[plan.target.device]}", "grey"))
    return "".join(f"{line}\n" for line in lines)


def _process_lines(plan: Plan) -> list[str]:
    """What a worker takes on a processor before it has a training."""
    from etude.runtime.processes import FRAMEWORKS

    if plan.rates is None or not any(plan.stages[id].stage.kind == "train" for id in plan.runs):
        return []
    backend = str(plan.target.backend)
    return [f"a process that trains with {backend} takes {size_text(FRAMEWORKS[backend].start)} beside that"]


def _row(plan: Plan, members: list[str]) -> tuple[str, ...]:
    planned, estimate = plan.stages[members[0]], plan.estimates[members[0]]
    many = len(members) > 1
    name = f"{stem(planned.stage.name)} {TIMES}{len(members)}" if many else planned.stage.name
    total = sum(plan.seconds(id) for id in members)
    seconds = duration_text(total) if total and planned.action != "merged" else ""
    reason = "" if planned.reason.startswith("after ") else planned.reason  # the order of lines says so already
    blocks = blocks_to_scan(plan, planned)
    if blocks:
        reason = f"{reason}{'; ' if reason else ''}{blocks} equal blocks: a scan where a timing says so"
    note = reason if estimate.fits else f"does not fit: needs {gigabytes(estimate.device_bytes)} GB"
    return planned.action, name, planned.stage.kind, *_sizes(estimate), flops_text(estimate.flops), seconds, note


def blocks_to_scan(plan: Plan, planned: PlannedStage) -> int:
    """How many equal blocks a training has that would run, where the backend may compute them by a scan."""
    if planned.action != "run" or planned.stage.kind != "train" or plan.target.backend != "jax":
        return 0
    return equal_blocks(planned.stage.spec)


def _sizes(estimate: Estimate) -> tuple[str, str]:
    """How many numbers the weights have, and the memory that a stage takes at most."""
    parameters = f"{count_text(estimate.parameters)} weights" if estimate.parameters else ""
    return parameters, size_text(estimate.device_bytes) if estimate.device_bytes else ""


def _merged_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Names that stand for stages of other names, members of a sweep together."""
    groups: dict[tuple[str, str, str], list[PlannedStage]] = {}
    for _, planned in plan.merged:
        groups.setdefault((stem(planned.stage.name), planned.stage.kind, stem(planned.reason)), []).append(planned)
    rows: list[tuple[str, ...]] = []
    for (name, kind, _), members in groups.items():
        shown = f"{name} {TIMES}{len(members)}" if len(members) > 1 else members[0].stage.name
        rows.append(("merged", shown, kind, "", "", "", "", members[0].reason))
    return rows


def _line(row: tuple[str, ...], widths: list[int], paint: Paint) -> str:
    action, name, kind, *costs, reason = row
    cells = [
        paint(f"{action:<{widths[0]}}", ACTION_STYLES.get(action, "")),
        f"{name:<{widths[1]}}",
        paint(f"{kind:<{widths[2]}}", "grey"),
        *(f"{cost:>{width}}" for cost, width in zip(costs, widths[3:], strict=True) if width),
        paint(reason, "grey"),
    ]
    return "  ".join(cells).rstrip()


def _total_line(plan: Plan, paint: Paint) -> str:
    found = totals(plan)
    others = "".join(f", {found[action]} {action}" for action in ("merged", "dropped") if found[action])
    cost = f": about {duration_text(found['seconds'])}, {flops_text(found['flops'])}" if found["flops"] else ""
    where = f"{plan.target.backend} on {plan.target.name}"
    return paint(f"{found['run']} to run, {found['cached']} cached{others} on {where}{cost}", "bold")


def count_text(count: int) -> str:
    """
    >>> count_text(2410), count_text(86_567_656)
    ('2,410', '86.6M')
    """
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e5, "k")):
        if count >= size:
            return f"{count / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{count:,}"


def flops_text(flops: int) -> str:
    """
    >>> flops_text(25_100_000_000)
    '25.1 GFLOP'
    """
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if flops >= size:
            return f"{flops / size:.3g} {letter}FLOP"
    return f"{flops} FLOP" if flops else ""
