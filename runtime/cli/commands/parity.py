"""Compare the backends: run every stage that uses one on both, from the same inputs.

The recipe is run on the first backend; then the first steps of each stage are run on both, from the same input
artifacts, and their losses and weights compared. The exit code is 3 when they differ by more than rounding explains.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from etude.compiler.render.ansi import Paint
from etude.runtime.cli import faults
from etude.runtime.cli.options import Adjustments, argument, flag, number_from, option
from etude.runtime.cli.recipes import workflow_of
from etude.runtime.cli.terminal import is_live, paint_for, print_json

if TYPE_CHECKING:
    from etude.runtime.parity import ParityResult, StageParity

from etude.runtime.cli.execution import DEFAULT_STORE, file_faults, refuse_times, settings_for
from etude.runtime.targets import BACKENDS, Target, check_is_read, find_target, installed_backends

EXAMPLES = (
    ("etude parity recipe.etude", "Compare PyTorch and JAX on every stage."),
    ("etude parity recipe.etude --steps 50 --only teacher", "Compare 50 steps of one stage."),
)


class Options(Adjustments):
    file: Path = argument("the recipe", metavar="FILE", parse=Path)
    steps: int = option("how many steps of each training are compared", metavar="N", default=10, parse=number_from(1))
    only: tuple[str, ...] = option("compare only these stages, by name or glob", metavar="STAGE", many=True)
    jobs: int | None = option(
        "how many stages run side by side (default: one per core)", metavar="N", parse=number_from(1)
    )
    target: str = option("where to compare: cpu, gpu, or one of etude.toml", metavar="NAME", default="cpu")
    store: Path = option("where results are kept", metavar="DIR", default=DEFAULT_STORE, parse=Path)
    json: bool = flag("print one JSON object")


def run(options: Options) -> int:
    from etude.runtime.cli.devices import refuse_missing_device
    from etude.runtime.cli.selection import select_stages
    from etude.runtime.parity import check_parity
    from etude.runtime.progress import show_progress
    from etude.runtime.store import Store

    missing = [name for name in BACKENDS if name not in installed_backends()]
    if missing:
        raise faults.UsageError(f"{missing[0]} is not installed", hint=f'pip install "etude-lang[{missing[0]}]"')
    workflow = workflow_of(options.file, options)
    refuse_times(workflow, "parity compares what can be repeated", latencies=False)
    settings = settings_for(_target(options), workflow)
    wanted = [stage.id for pattern in options.only for stage in select_stages(workflow, pattern)] or None
    refuse_missing_device(settings, BACKENDS, workflow.stages.values())
    store = Store(options.store)
    with show_progress(workflow, store.read_json, live=is_live(sys.stderr) and not options.json) as listener:
        result = check_parity(
            workflow,
            store=store,
            base=options.file.parent,
            steps=options.steps,
            jobs=options.jobs,
            only=wanted,
            on_event=listener,
            settings=settings,
        )
    if options.json:
        print_json(result.to_json())
    else:
        print("\n".join(_lines(result, paint_for(sys.stdout))))
    if result.run.failed:
        return faults.STAGE_FAILED
    return faults.OK if result.agrees else faults.CLAIM_FAILED


def _target(options: Options) -> Target:
    """The target, which has to be one of both backends, and of numbers that both draw. Raises UsageError."""
    from dataclasses import replace

    with file_faults():
        target = find_target(options.target, options.file.parent)
        if target.backend is not None:
            raise faults.UsageError(
                f"both backends are compared, and the target '{target.name}' is of {target.backend}"
            )
        target = replace(target, backend=BACKENDS[0])
        check_is_read(target)
    if "native" in (target.random, *(settings.get("random") for settings in target.stages.values())):
        hint = 'compare on a target with random = "portable"'
        raise faults.UsageError(f"native random numbers of '{target.name}' differ between the backends", hint=hint)
    return target


def _lines(result: ParityResult, paint: Paint) -> Iterator[str]:
    width = max((len(stage.name) for stage in result.stages), default=0)
    for stage in result.stages:
        mark = paint("✓ agrees ", "green") if stage.agrees else paint("✗ differs", "bold red")
        yield f"{mark}  {stage.name:<{width}}  {_detail(stage)}"
    if not result.stages:
        yield "no stage uses a backend: there is nothing to compare"
        return
    verdict = "agree" if result.agrees else "differ"
    yield paint(f"{' and '.join(result.backends)} {verdict} over {result.steps} steps of each stage", "bold")


def _detail(stage: StageParity) -> str:
    if stage.failure:
        return stage.failure
    found = {key: value for key, value in stage.detail.items() if key.endswith("difference") and value is not None}
    return ", ".join(f"{key.replace('_', ' ')} {value:.2g}" for key, value in found.items())
