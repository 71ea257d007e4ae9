"""Write a training of a recipe as a script of its own, which needs no Etude.

The script has the same step, the same draws and the same order of batches, so it comes to the same losses. With -o it
is written to a folder with the data and weights that it starts from, for which everything before the stage is run; else
the script alone is printed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from etude.backends.meshes import mesh_text
from etude.backends.numerics import PORTABLE
from etude.runtime.cli import faults
from etude.runtime.cli.execution import Execution, chosen_target, settings_for
from etude.runtime.cli.options import argument, number_from, option
from etude.runtime.cli.recipes import workflow_of
from etude.runtime.cli.terminal import is_live, paint_for, say_error

if TYPE_CHECKING:
    from etude.backends.eject import Ejected
    from etude.compiler.workflow import Stage, Workflow
    from etude.runtime.results import RunResult
    from etude.runtime.stages import Settings
    from etude.runtime.targets import Target

EXAMPLES = (
    ("etude eject recipe.etude teacher --backend torch", "Print the script that trains `teacher`."),
    ("etude eject recipe.etude teacher --backend jax -o teacher", "Write it with its inputs, ready to run."),
)


class Options(Execution):
    file: Path = argument("the recipe", metavar="FILE", parse=Path)
    stage: str = argument("the training, by name or glob", metavar="STAGE")
    output: Path | None = option(
        "the folder to write script, inputs and command to", metavar="DIR", short="-o", parse=Path
    )
    threads: int = option(
        "the processor threads that the script computes with", metavar="N", default=1, parse=number_from(1)
    )
    jobs: int | None = option("how many stages run side by side before it", metavar="N", parse=number_from(1))


def run(options: Options) -> int:
    if options.output is not None and options.output.exists() and not options.output.is_dir():
        raise faults.UsageError(f"{options.output} is a file, and a folder is written", hint="name another with -o")
    workflow, target = workflow_of(options.file, options), chosen_target(options, options.file)
    stage = _training(workflow, options.stage)
    _refuse_other_numerics(target, settings_for(target, workflow).of(stage.id))
    ejected = _script(options, stage, target)
    if options.output is None:
        print(ejected.source, end="")
        return faults.OK
    from etude.runtime.eject import write_ejected
    from etude.runtime.stages import StageError

    made = _run_before(options, workflow, stage, target)
    if made.failed:
        from etude.runtime.cli.outcome import manifest_lines

        print("\n".join(manifest_lines(made.to_json(), paint_for(sys.stderr))), file=sys.stderr)
        return faults.STAGE_FAILED
    try:
        written = write_ejected(options.output, ejected, stage, made)
    except StageError as error:
        say_error(str(error))
        return faults.STAGE_FAILED
    if not made.to_json()["executed"]:
        shutil.rmtree(made.folder, ignore_errors=True)  # so that `last` still means what was run last
    print(f"wrote {written.script}, {written.inputs}; run it with {written.command}", file=sys.stderr)
    return faults.OK


def _training(workflow: Workflow, pattern: str) -> Stage:
    """The first training of that name. Raises UsageError."""
    from etude.runtime.cli.selection import select_stages

    found = select_stages(workflow, pattern)
    trainings = [stage for stage in found if stage.kind == "train"]
    if trainings:
        if len(trainings) > 1:
            others = f"the others are {', '.join(stage.name for stage in trainings[1:5])}"
            print(f"ejecting `{trainings[0].name}`, the first of {len(trainings)}; {others}", file=sys.stderr)
        return trainings[0]
    names = list(dict.fromkeys(stage.name for stage in workflow.stages.values() if stage.kind == "train"))
    hint = f"the trainings are {', '.join(names[:8])}" if names else "this recipe trains nothing"
    raise faults.UsageError(f"`{found[0].name}` is a {found[0].kind}, and only trainings are ejected", hint=hint)


def _refuse_other_numerics(target: Target, settings: Settings) -> None:
    """Scripts compute in float32, uncompiled, with portable draws. Raises UsageError."""
    if settings.numerics != PORTABLE:
        described = settings.numerics.described().items()
        chosen = ", ".join(f"{n} = {mesh_text(value) if n == 'mesh' else value}" for n, value in described)
        hint = "take a target without it: the script can be changed by hand"
        raise faults.UsageError(f"scripts know nothing of '{target.name}' with {chosen}", hint=hint)


def _script(options: Options, stage: Stage, target: Target) -> Ejected:
    from etude.backends.eject import About, NotEjectableError
    from etude.backends.eject.script import eject_train

    about = About(stage=stage.name, recipe=options.file.name, device=target.device, threads=options.threads)
    if target.device not in ("cpu", "cuda"):
        raise faults.UsageError(f"scripts compute on cpu or cuda, and the target '{target.name}' is {target.device}")
    try:
        return eject_train(stage.spec, str(target.backend), about)
    except NotEjectableError as error:
        raise faults.UsageError(str(error)) from error


def _run_before(options: Options, workflow: Workflow, stage: Stage, target: Target) -> RunResult:
    """Bring what the stage takes into the store."""
    from etude.runtime.progress import show_progress
    from etude.runtime.runner import run as run_workflow
    from etude.runtime.store import Store

    settings, store = settings_for(target, workflow), Store(options.store)
    with show_progress(workflow, store.read_json, live=is_live(sys.stderr)) as listener:
        return run_workflow(
            workflow,
            store=store,
            base=options.file.parent,
            **settings.chosen,
            jobs=options.jobs,
            only={ref.stage for ref in stage.inputs},
            on_event=listener,
        )
