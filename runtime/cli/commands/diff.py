"""Say what an edit would make run again, and what that would cost.

With two files the second is compared with the first; with one, with the last run of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.runtime.cli import faults
from etude.runtime.cli.execution import Execution, chosen_target, settings_for, store_to_read
from etude.runtime.cli.options import argument, flag
from etude.runtime.cli.recipes import workflow_of
from etude.runtime.cli.terminal import paint_for, print_json

if TYPE_CHECKING:
    from etude.compiler.render.ansi import Paint
    from etude.compiler.workflow import Workflow
    from etude.runtime.cli.plans import Plan
    from etude.runtime.comparing import Difference
    from etude.runtime.stages import Settings
    from etude.runtime.store import Store

Json = Any
EXAMPLES = (
    ("etude diff recipe.etude", "Say what would run since the last run of it."),
    ("etude diff old.etude new.etude --json", "Compare two recipes, as one JSON object."),
)
STYLES = {"edited": "yellow", "added": "green", "follows": "blue", "removed": "red"}


class Options(Execution):
    file: Path = argument("the recipe, or the recipe before the edit", metavar="FILE", parse=Path)
    after: Path | None = argument("the recipe after the edit", metavar="AFTER", parse=Path, default=None)
    json: bool = flag("print one JSON object")


def run(options: Options) -> int:
    from etude.runtime.cli.plans import make_plan

    file = options.after or options.file
    workflow = workflow_of(file, options)
    target = chosen_target(options, file)
    settings = settings_for(target, workflow)
    with store_to_read(options.store, options.remote, file.parent) as store:
        store.trusts_times = not options.verify
        plan = make_plan(workflow, target, settings, store, file.parent)
        if options.after is None:
            difference = _since_the_last_run(plan, workflow, store, settings)
        else:
            from etude.runtime.comparing import compare_recipes

            before = workflow_of(options.file, options)
            difference = compare_recipes(before, workflow, plan.stages, settings.backend, settings.precision)
    if options.json:
        print_json(difference_to_json(difference, plan))
    else:
        print(difference_to_text(difference, plan, paint_for(sys.stdout)), end="")
    return faults.OK


def _since_the_last_run(plan: Plan, workflow: Workflow, store: Store, settings: Settings) -> Difference:
    """What would run now. Raises UsageError when there is no run of this recipe."""
    from etude.runtime.comparing import Difference, StageDifference
    from etude.runtime.explaining import Explainer

    explainer = Explainer(workflow, plan.stages, store, settings)
    if explainer.last_run is None:
        raise faults.UsageError(
            f"there is no run of {workflow.recipe} to compare with", hint="give two recipes: etude diff BEFORE AFTER"
        )
    known = {stage["name"] for stage in (explainer.last_run.manifest or {})["stages"]}
    found = []
    for id in plan.runs:
        changed = explainer.explain(id).changed
        own = [change for change in changed if change.what != "input" or plan.stages[id].stage.kind == "load"]
        name = plan.stages[id].stage.name
        kind = "edited" if own else "follows" if name in known or not changed else "added"
        found.append(StageDifference(plan.stages[id].stage, kind, "run", changed))  # type: ignore[arg-type]
    names = {stage.name for stage in workflow.stages.values()}
    removed = sorted(known - names)
    return Difference(f"run {explainer.last_run.id}", workflow.recipe, found, removed)


def difference_to_json(difference: Difference, plan: Plan) -> Json:
    """The object of `etude diff --json`."""
    return {
        "before": difference.before,
        "after": difference.after,
        "stages": [
            {
                "name": each.stage.name,
                "kind": each.stage.kind,
                "change": each.kind,
                "action": each.action,
                "changed": [change.to_json() for change in each.changed],
                "cost": plan.cost(each.stage.id),
            }
            for each in difference.stages
        ],
        "removed": list(difference.removed),
        "totals": _totals(difference, plan),
    }


def _totals(difference: Difference, plan: Plan) -> dict[str, Json]:
    """How many stages are touched, and what those that would run cost."""
    runs = [each.stage.id for each in difference.stages if each.action == "run"]
    return {
        "touched": len(difference.stages),
        "removed": len(difference.removed),
        "run": len(runs),
        "flops": sum(plan.estimates[id].flops for id in runs),
        "seconds": round(sum(plan.estimates[id].seconds for id in runs), 3),
    }


def difference_to_text(difference: Difference, plan: Plan, paint: Paint) -> str:
    """A line for each stage that is touched; members of a sweep that fare alike share one."""
    from etude.compiler.draw.picture import TIMES
    from etude.compiler.draw.repeats import stem
    from etude.runtime.cli.plans import flops_text
    from etude.runtime.progress.durations import duration_text

    groups: dict[tuple[str, ...], list[Any]] = {}
    for each in difference.stages:
        first = str(each.changed[0]) if each.changed else ""
        note = f"{first}{' (in the store)' if each.action == 'cached' else ''}"
        groups.setdefault((each.kind, stem(each.stage.name), each.stage.kind, stem(note)), []).append((each, note))
    rows = []
    for (change, name, kind, _), members in groups.items():
        shown = f"{name} {TIMES}{len(members)}" if len(members) > 1 else members[0][0].stage.name
        flops = sum(plan.estimates[each.stage.id].flops for each, _ in members)
        rows.append((change, shown, kind, flops_text(flops), members[0][1]))
    rows += [("removed", name, "", "", "") for name in difference.removed]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
    lines = [
        "  ".join([paint(f"{row[0]:<{widths[0]}}", STYLES[row[0]]), *map(str.ljust, row[1:4], widths[1:]), row[4]])
        for row in rows
    ]
    found = _totals(difference, plan)
    cost = f": about {duration_text(found['seconds'])}, {flops_text(found['flops'])}" if found["flops"] else ""
    total = f"{found['run']} of {len(plan.stages)} stages would run{cost}"
    lines.append(paint(f"{difference.before} -> {difference.after}: {total}", "bold"))
    return "".join(f"{line.rstrip()}\n" for line in lines)
