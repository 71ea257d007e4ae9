"""Run a recipe: execute what is not in the store yet, judge its claims, write its report.

The exit code is 3 when a claim fails and 4 when a stage fails; stages that do not depend on a failed one are run, and
the next run picks up there. An interrupted run keeps everything that was finished.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.runtime.cli import faults
from etude.runtime.cli.execution import (
    Execution,
    chosen_target,
    opened_store,
    refuse_plans_only,
    refuse_times,
    settings_for,
)
from etude.runtime.cli.options import argument, flag, number_from, option
from etude.runtime.cli.recipes import compiled
from etude.runtime.cli.terminal import is_live, paint_for, print_json

if TYPE_CHECKING:
    from etude.compiler.pipeline import Compilation
    from etude.compiler.workflow import Workflow
    from etude.runtime.estimates import Estimate
    from etude.runtime.events import Event
    from etude.runtime.results import RunResult
    from etude.runtime.store import Store
    from etude.runtime.targets import Target
    from etude.runtime.tracking.settings import Chosen

EXAMPLES = (
    ("etude run recipe.etude", "Run a recipe."),
    ("etude run recipe.etude --backend jax --set budget=5epochs", "Run it on JAX, with another value of a param."),
    ("etude run recipe.etude --only teacher", "Run one stage and all that it needs."),
    ("etude run --plan plan.json", "Run what `etude plan recipe.etude -o plan.json` planned, and nothing else."),
)

REPAIRS = 2  # runs more than the first, when the report finds an object damaged or gone


class Options(Execution):
    file: Path = argument("the recipe (may be left out with --plan)", metavar="FILE", parse=Path, default=None)
    plan: Path | None = option("run exactly this saved plan, or say what moved", metavar="FILE", parse=Path)
    jobs: int | None = option(
        "how many stages run side by side (default: one per core, on a GPU four)", metavar="N", parse=number_from(1)
    )
    only: tuple[str, ...] = option(
        "run only these stages, by name or glob, and what they need", metavar="STAGE", many=True
    )
    retries: int | None = option(
        "how often to try a stage again whose worker died or that had too little memory (default: etude.toml's, or 0)",
        metavar="N",
        parse=number_from(0),
    )
    strict: bool = flag("use no rewrite that is not exact to the bit, and no result made with one")
    no_pass: tuple[str, ...] = option("leave out a pass of the compiler", metavar="NAME", many=True)
    track: tuple[str, ...] = option(
        "follow the run with tensorboard (the default), mlflow or wandb as well; none: with nothing",
        metavar="NAME",
        many=True,
    )
    json: bool = flag("print one JSON object")


def run(options: Options) -> int:
    from etude.runtime.smoke import as_asked
    from etude.runtime.tracking.settings import chosen_trackers

    _refuse_unknown_passes(options.no_pass)
    options, saved = _as_planned(options)
    compilation, workflow = compiled(options.file, options)
    workflow = as_asked(workflow)
    _tell_warnings(compilation)
    trackers = chosen_trackers(options.track, options.file.parent)
    target = chosen_target(options, options.file)
    refuse_plans_only(target, strict=options.strict)
    if options.strict:
        refuse_times(workflow, "--strict wants numbers exact to the bit")
    store = opened_store(options.store, options.remote, options.file.parent)
    store.trusts_times = not options.verify
    store.records.is_strict = options.strict
    if options.plan is not None:
        _refuse_what_moved(options, saved, workflow, target, store)
    _refuse_what_does_not_fit(options, workflow, target, store)
    _refuse_missing_device(options, workflow, target, store)
    result = _executed_and_told(options, workflow, target, store, compilation.source.text, trackers)
    if options.json:
        print_json(result.to_json())
    else:
        from etude.runtime.cli.outcome import outcome_text

        print(outcome_text(result, paint_for(sys.stdout)), end="")
    return exit_code(result)


def exit_code(result: RunResult) -> int:
    """4 when a stage failed, 3 when a claim fails, else 0."""
    if result.failed:
        return faults.STAGE_FAILED
    return faults.CLAIM_FAILED if any(claim.verdict == "fails" for claim in result.claims) else faults.OK


def _executed_and_told(
    options: Options, workflow: Workflow, target: Target, store: Store, text: str, trackers: Chosen
) -> RunResult:
    """Run, and write the report; what turns out to be damaged in the store only then is made again by another run."""
    from etude.runtime.report import write_report
    from etude.runtime.store import LostObject

    for left in reversed(range(REPAIRS + 1)):
        result = _execute(options, workflow, target, store, text, trackers)
        result.target = target.name
        try:
            result.report = str(write_report(result, text))
        except LostObject as error:
            if not left:
                raise
            print(f"notice: {error.message}: another run makes it again, then the report", file=sys.stderr)
        else:
            break
    return result


def _execute(
    options: Options, workflow: Workflow, target: Target, store: Store, text: str, trackers: Chosen
) -> RunResult:
    from etude.runtime.cli.settings import project_settings
    from etude.runtime.progress import show_progress
    from etude.runtime.report import DRAWN, import_drawing
    from etude.runtime.runner import run as run_workflow
    from etude.runtime.tracking.following import Following

    settings = settings_for(target, workflow)
    wanted = _selected(options, workflow)
    rewrites = {"strict": options.strict, "without_passes": list(options.no_pass)}
    facts = {"backend": settings.backend, "target": target.name, "seed": workflow.seed}
    following = Following(workflow, store, text, trackers, facts, eager=bool(options.track))
    undrawn = any(stage.kind in DRAWN for stage in workflow.stages.values())
    with following, show_progress(workflow, store.read_json, live=is_live(sys.stderr) and not options.json) as listener:

        def hear(event: Event) -> None:
            nonlocal undrawn
            if undrawn and event.kind == "stage-started" and _kind(workflow, event) == "train":
                undrawn = False
                import_drawing()
            following(event)
            listener(event)

        result = run_workflow(
            workflow,
            store=store,
            base=options.file.parent,
            **settings.chosen,
            jobs=options.jobs,
            only=wanted,
            without=_known_passes() if options.strict else options.no_pass,
            recipe_text=text,
            retries=project_settings(options.file.parent, Path()).retries
            if options.retries is None
            else options.retries,
            about={"target": target.name, "report": "report/index.html", **rewrites},
            on_event=hear,
        )
    for warning in following.warnings:
        print(f"warning: this run is not followed to its end by {warning}", file=sys.stderr)
    return result


def _kind(workflow: Workflow, event: Event) -> str | None:
    return None if event.stage is None else workflow.stages[event.stage].kind


def _tell_warnings(compilation: Compilation) -> None:
    if compilation.diagnostics:
        from etude.compiler.render.text import render_text

        print(render_text(compilation.diagnostics, paint_for(sys.stderr)), file=sys.stderr)


def _refuse_unknown_passes(names: tuple[str, ...]) -> None:
    known = _known_passes() if names else []
    for name in names:
        if name not in known:
            raise faults.UsageError(f"there is no pass '{name}'", hint=f"there are {', '.join(known)}")


def _known_passes() -> list[str]:
    """The passes that may change results by the order of sums; `--strict` leaves out all of them."""
    import pkgutil

    import etude.compiler.passes as package

    return [module.name for module in pkgutil.iter_modules(package.__path__)]


def _as_planned(options: Options) -> tuple[Options, Any]:
    """The options of a saved plan, and the plan; as they are without one."""
    if options.plan is None:
        if options.file is None:
            raise faults.UsageError("the following arguments are required: FILE", command="etude run")
        return options, None
    from etude.runtime.cli.saved_plans import as_planned, read_plan

    saved = read_plan(options.plan)
    return as_planned(options, saved), saved


def _refuse_what_moved(options: Options, saved: Any, workflow: Workflow, target: Target, store: Store) -> None:
    """Raises PlanMovedError when the saved plan is not what would be run now."""
    from etude.runtime.cli.saved_plans import refuse_what_moved
    from etude.runtime.planning import plan_stages

    assert options.plan is not None
    planned = plan_stages(workflow, store, settings_for(target, workflow), options.file.parent)
    refuse_what_moved(saved, workflow, planned, target, options.plan)


def _refuse_missing_device(options: Options, workflow: Workflow, target: Target, store: Store) -> None:
    """Raises UsageError when something has to run on a device that is not here; what is in the store needs none."""
    from etude.runtime.cli.devices import refuse_missing_device
    from etude.runtime.planning import needed_stages, plan_stages

    if target.device in ("cpu", "auto"):
        return
    settings = settings_for(target, workflow)
    only = _selected(options, workflow)
    wanted = None if only is None else needed_stages(workflow, only)
    planned = plan_stages(workflow, store, settings, options.file.parent, wanted)
    stages = [each.stage for each in planned.values() if each.action == "run"]
    refuse_missing_device(settings, [settings.backend], stages)


def _selected(options: Options, workflow: Workflow) -> list[str] | None:
    """The ids of the stages that are asked for by name."""
    from etude.runtime.cli.selection import select_stages

    return [stage.id for pattern in options.only for stage in select_stages(workflow, pattern)] or None


def _refuse_what_does_not_fit(options: Options, workflow: Workflow, target: Target, store: Store) -> None:
    """Raises DoesNotFitError for the first stage that would need more memory than there is."""
    from etude.compiler.keys import uses_backend
    from etude.runtime.estimates import estimate_stages, memory_bytes
    from etude.runtime.planning import plan_stages

    if target.device not in ("cpu", "auto") and target.chip is None:
        return
    heavy = [id for id, stage in workflow.stages.items() if uses_backend(stage)]
    if not heavy:
        return
    estimates: Mapping[str, Estimate] = estimate_stages(workflow, options.file.parent)
    if target.chip is not None:
        from etude.runtime.hardware import on_hardware

        estimates = on_hardware(workflow, estimates, [], target, settings_for(target, workflow)).estimates
    large = [id for id in heavy if not estimates[id].fits]
    planned = plan_stages(workflow, store, settings_for(target, workflow), options.file.parent) if large else {}
    for id in large:
        found = estimates[id]
        if planned[id].action == "run":
            raise faults.DoesNotFitError(planned[id].stage.name, found.device_bytes, found.limit or memory_bytes())
