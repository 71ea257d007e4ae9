"""Prove that trainings survive a kill: run each whole, and killed in its middle and continued, and compare every bit.

Each training of the recipe is cut to a few steps. The exit code is 4 when one does not end as if nothing had happened,
or fails.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from etude.compiler.render.ansi import Paint
from etude.runtime.cli import faults
from etude.runtime.cli.execution import DEFAULT_STORE, file_faults, refuse_plans_only, settings_for
from etude.runtime.cli.options import Adjustments, argument, flag, number_from, option
from etude.runtime.cli.recipes import workflow_of
from etude.runtime.cli.terminal import is_live, paint_for, print_json
from etude.runtime.targets import BACKENDS, check_is_read, find_target, installed_backends

if TYPE_CHECKING:
    from etude.compiler.workflow import Stage, Workflow
    from etude.runtime.resuming import StageResumption
    from etude.runtime.stages import Settings

EXAMPLES = (
    ("etude verify-resume recipe.etude", "Check every training, on every backend that is installed."),
    ("etude verify-resume recipe.etude --backend jax --stage teacher", "Check one training on JAX."),
    ("etude verify-resume recipe.etude --target gpu", "Check every training on a GPU."),
)


class Options(Adjustments):
    file: Path = argument("the recipe", metavar="FILE", parse=Path)
    backend: tuple[str, ...] = option(
        "check on this framework (default: all that are installed)", choices=BACKENDS, many=True
    )
    target: str = option("where to check: cpu, gpu, tpu, or one of etude.toml", metavar="NAME", default="cpu")
    stage: tuple[str, ...] = option("check only these trainings, by name or glob", metavar="NAME", many=True)
    all: bool = flag("check every member of a sweep, not one of those that differ in numbers only")
    steps: int = option("how many steps each training is cut to", metavar="N", default=12, parse=int)
    jobs: int | None = option(
        "how many trainings run side by side (default: one per core)", metavar="N", parse=number_from(1)
    )
    store: Path = option("where results are kept", metavar="DIR", default=DEFAULT_STORE, parse=Path)
    json: bool = flag("print one JSON object")


def run(options: Options) -> int:
    from etude.runtime.cli.devices import refuse_missing_device
    from etude.runtime.resuming import distinct
    from etude.runtime.smoke import capped

    missing = [name for name in options.backend if name not in installed_backends()]
    if missing or not installed_backends():
        hint = f'pip install "etude-lang[{missing[0] if missing else BACKENDS[0]}]"'
        raise faults.UsageError(f"{missing[0] if missing else 'no backend'} is not installed", hint=hint)
    if options.steps < 2:
        raise faults.UsageError("--steps must be at least 2: nothing is in the middle of one")
    workflow = capped(workflow_of(options.file, options), options.steps)
    trainings = _trainings(options, workflow)
    wanted = trainings if options.all else distinct(trainings)
    ways = _ways(options, workflow)
    for settings in ways:
        refuse_missing_device(settings, [settings.backend], wanted)
    found = [each for settings in ways if wanted for each in _verified(options, workflow, wanted, settings)]
    left_out = len(trainings) - len(wanted)
    agrees = all(each.agrees for each in found)
    if options.json:
        stages = [each.to_json() for each in found]
        print_json({"steps": options.steps, "agrees": agrees, "left_out": left_out, "stages": stages})
    else:
        print("\n".join(_lines(found, left_out, paint_for(sys.stdout))))
    return faults.OK if agrees else faults.STAGE_FAILED


def _ways(options: Options, workflow: Workflow) -> list[Settings]:
    """The settings of the target on each backend that is checked. Raises UsageError, RecipeFaultError."""
    from dataclasses import replace

    with file_faults():
        target = find_target(options.target, options.file.parent)
    refuse_plans_only(target, strict=False)
    backends = options.backend or ([target.backend] if target.backend else installed_backends())
    for name in backends:
        if target.backend not in (None, name):
            raise faults.UsageError(f"the target '{target.name}' runs on {target.backend}, not on {name}")
    targets = [replace(target, backend=name) for name in backends]
    for each in targets:
        with file_faults():
            check_is_read(each)
    return [settings_for(each, workflow) for each in targets]


def _trainings(options: Options, workflow: Workflow) -> list[Stage]:
    """The trainings that are asked for."""
    from etude.runtime.cli.selection import select_stages

    named = {stage.id for pattern in options.stage for stage in select_stages(workflow, pattern)}
    stages = workflow.stages.values()
    return [each for each in stages if each.kind == "train" and (each.id in named or not options.stage)]


def _verified(options: Options, workflow: Workflow, wanted: list[Stage], settings: Settings) -> list[StageResumption]:
    from etude.runtime.progress import show_progress
    from etude.runtime.resuming import verify_resumption
    from etude.runtime.store import Store

    store = Store(options.store)
    with show_progress(workflow, store.read_json, live=is_live(sys.stderr) and not options.json) as listener:
        return verify_resumption(
            workflow,
            store=store,
            base=options.file.parent,
            settings=settings,
            jobs=options.jobs,
            only=[stage.id for stage in wanted],
            on_event=listener,
        )


def _lines(found: list[StageResumption], left_out: int, paint: Paint) -> Iterator[str]:
    width = max((len(each.name) for each in found), default=0)
    for each in found:
        mark = paint("✓ agrees ", "green") if each.agrees else paint("✗ differs", "bold red")
        yield f"{mark}  {each.name:<{width}}  {each.backend:<5}  {_detail(each)}"
    if not found:
        yield "there is no training to check"
    elif all(each.agrees for each in found):
        yield paint("every training ends with the same bits, killed or not", "bold")
    if left_out:
        yield f"{left_out} more differ from these in seeds and numbers only: --all checks them, too"


def _detail(each: StageResumption) -> str:
    if each.failure:
        return each.failure
    if each.killed_after is None:
        return f"it has {each.steps} step only: there is nothing to take up"
    way = f"killed after step {each.killed_after} of {each.steps}, went on from step {each.continued_at}"
    return f"{way}: {each.difference}" if each.difference else way
