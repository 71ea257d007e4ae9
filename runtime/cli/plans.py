"""What `etude plan` says: what would run, what is known already, what it would cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.compiler.draw.picture import TIMES
from etude.compiler.draw.repeats import repeat_classes, stem
from etude.compiler.render.ansi import Paint
from etude.runtime.progress.durations import duration_text

if TYPE_CHECKING:
    from etude.compiler.workflow import Workflow
    from etude.runtime.estimates import Estimate
    from etude.runtime.planning import PlannedStage
    from etude.runtime.stages import Settings
    from etude.runtime.store import Store
    from etude.runtime.targets import Target

Json = Any
ACTION_STYLES = {"run": "yellow", "cached": "green", "merged": "blue"}


@dataclass(frozen=True)
class Plan:
    """A workflow with what is going to happen to each stage."""

    workflow: Workflow
    target: Target
    stages: Mapping[str, PlannedStage]
    estimates: Mapping[str, Estimate]

    @property
    def runs(self) -> list[str]:
        """The ids of the stages that would be executed."""
        return [id for id, planned in self.stages.items() if planned.action == "run"]

    def seconds(self, id: str) -> float:
        """What a stage took, where it was run before, else the estimate."""
        record = self.stages[id].record
        return record.seconds if record else self.estimates[id].seconds


def make_plan(workflow: Workflow, target: Target, settings: Settings, store: Store, base: Path) -> Plan:
    """Probe the store and estimate what is left."""
    from etude.runtime.estimates import estimate_stages
    from etude.runtime.planning import plan_stages

    return Plan(workflow, target, plan_stages(workflow, store, settings, base), estimate_stages(workflow, base))


def plan_to_json(plan: Plan) -> Json:
    """The object of `etude plan --json`."""
    from etude.runtime.estimates import to_json

    stages = []
    for id, planned in plan.stages.items():
        stage = planned.stage
        costs = to_json(plan.estimates[id])
        stages.append(
            {
                "id": id,
                "name": stage.name,
                "kind": stage.kind,
                "key": planned.key,
                "action": planned.action,
                "reason": planned.reason,
                "inputs": list(dict.fromkeys(ref.stage for ref in stage.inputs)),
                **costs,
                "cost": {**costs["cost"], "seconds": plan.seconds(id)},
                "pass": [],
            }
        )
    return {
        "recipe": plan.workflow.recipe,
        "backend": plan.target.backend,
        "target": plan.target.name,
        "stages": stages,
        "totals": totals(plan),
        "passes": [],
    }


def totals(plan: Plan) -> dict[str, Json]:
    """How many stages would run, and what they would cost together."""
    actions = [planned.action for planned in plan.stages.values()]
    return {
        "run": actions.count("run"),
        "cached": actions.count("cached"),
        "merged": actions.count("merged"),
        "dropped": actions.count("dropped"),
        "flops": sum(plan.estimates[id].flops for id in plan.runs),
        "seconds": round(sum(plan.estimates[id].seconds for id in plan.runs), 1),
    }


def plan_to_text(plan: Plan, paint: Paint) -> str:
    """A line for each stage; repeated ones that fare alike share one."""
    classes = repeat_classes(plan.workflow)
    groups: dict[tuple[str, str], list[str]] = {}
    for id, planned in plan.stages.items():
        groups.setdefault((classes[id], planned.action), []).append(id)
    rows = [_row(plan, members) for members in groups.values()]
    widths = [max(len(row[i]) for row in rows) if rows else 0 for i in range(5)]
    lines = [_line(row, widths, paint) for row in rows]
    lines.append(_total_line(plan, paint))
    return "".join(f"{line}\n" for line in lines)


def _row(plan: Plan, members: list[str]) -> tuple[str, ...]:
    planned, estimate = plan.stages[members[0]], plan.estimates[members[0]]
    many = len(members) > 1
    name = f"{stem(planned.stage.name)} {TIMES}{len(members)}" if many else planned.stage.name
    total = sum(plan.seconds(id) for id in members)
    seconds = duration_text(total) if total and planned.action != "merged" else ""
    reason = "" if planned.reason.startswith("after ") else planned.reason  # the order of lines says so already
    note = reason if estimate.fits else f"does not fit: needs {estimate.device_bytes / 1e9:.1f} GB"
    return planned.action, name, planned.stage.kind, flops_text(estimate.flops), seconds, note


def _line(row: tuple[str, ...], widths: list[int], paint: Paint) -> str:
    action, name, kind, cost, seconds, reason = row
    cells = [
        paint(f"{action:<{widths[0]}}", ACTION_STYLES.get(action, "")),
        f"{name:<{widths[1]}}",
        paint(f"{kind:<{widths[2]}}", "grey"),
        f"{cost:>{widths[3]}}",
        f"{seconds:>{widths[4]}}",
        paint(reason, "grey"),
    ]
    return "  ".join(cells).rstrip()


def _total_line(plan: Plan, paint: Paint) -> str:
    found = totals(plan)
    merged = f", {found['merged']} merged" if found["merged"] else ""
    cost = f": about {duration_text(found['seconds'])}, {flops_text(found['flops'])}" if found["flops"] else ""
    where = f"{plan.target.backend} on {plan.target.name}"
    return paint(f"{found['run']} to run, {found['cached']} cached{merged} on {where}{cost}", "bold")


def flops_text(flops: int) -> str:
    """
    >>> flops_text(25_100_000_000)
    '25.1 GFLOP'
    """
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if flops >= size:
            return f"{flops / size:.3g} {letter}FLOP"
    return f"{flops} FLOP" if flops else ""
