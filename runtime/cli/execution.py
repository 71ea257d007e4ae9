"""What the commands that run or plan recipes share: the store, the target, the backend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from etude.backends.meshes import mesh_shape
from etude.runtime.cli.faults import RecipeFaultError, UsageError
from etude.runtime.cli.options import Adjustments, flag, option
from etude.runtime.targets import BACKENDS, Target, TargetFileError, check_is_read, find_target, installed_backends
from etude.runtime.targets.meshes import meshes_of, refuse_missing_devices
from etude.runtime.timed import timed_stages

if TYPE_CHECKING:
    from etude.compiler.workflow import Workflow
    from etude.runtime.stages import Settings
    from etude.runtime.store import Store

DEFAULT_STORE = Path(os.environ.get("ETUDE_STORE") or ".etude")


class Execution(Adjustments):
    """Options of every command that looks for results."""

    backend: str | None = option(
        "the framework to run on (default: the target's, or what is installed)", choices=BACKENDS
    )
    target: str = option(
        "where to run: cpu, gpu, tpu, one of etude.toml; to plan for, also gpu:h200, tpu:v5e:2x2 and the like",
        metavar="NAME",
        default="cpu",
    )
    store: Path = option("where results are kept", metavar="DIR", default=DEFAULT_STORE, parse=Path)
    verify: bool = flag("read every data file again, whatever its size and times say")
    remote: str | None = option(
        "a second store, in which results are looked up that are not in the first (default: etude.toml's)",
        metavar="URL",
    )


def chosen_target(options: Execution, recipe: Path) -> Target:
    """The target with its backend decided. Raises TargetError, RecipeFaultError, UsageError."""
    from dataclasses import replace

    with file_faults():
        target = find_target(options.target, recipe.parent)
    if options.backend and target.backend not in (None, options.backend):
        raise UsageError(f"the target '{target.name}' runs on {target.backend}, not on {options.backend}")
    backend = options.backend or target.backend or next(iter(installed_backends()), None)
    if backend is None:
        raise UsageError("no backend is installed", hint='pip install "etude-lang[torch]" or "etude-lang[jax]"')
    target = replace(target, backend=backend)
    with file_faults():
        check_is_read(target)
    return target


def refuse_plans_only(target: Target, *, strict: bool) -> None:
    """Raise UsageError for a target that nothing can be run on, or not `strict`; RecipeFaultError for a mesh of more
    devices than there are."""
    if target.topology is not None and target.mesh is None:
        hint = "give the target a mesh of all its chips, or leave the topology to `etude plan`"
        raise UsageError(
            f"runs compute on one chip without a mesh, and '{target.name}' is {target.topology}", hint=hint
        )
    with file_faults():
        refuse_missing_devices(target)
    if strict and any(mesh_shape(mesh) for *_, mesh in meshes_of(target)):
        hint = "what is shared out adds up in another order: take `mesh` out of the target, or run without --strict"
        raise UsageError(f"--strict wants numbers exact to the bit, and '{target.name}' has a mesh", hint=hint)
    compiled = target.compile or any(settings.get("compile") for settings in target.stages.values())
    if strict and compiled:
        hint = "what is compiled adds up in another order: take `compile` out of the target, or run without --strict"
        raise UsageError(f"--strict wants numbers exact to the bit, and '{target.name}' compiles", hint=hint)


def refuse_times(workflow: Workflow, what: str, *, latencies: bool = True) -> None:
    """Raise UsageError for a training by time, or a latency, where numbers have to come out again."""
    stage = next((each for each in timed_stages(workflow) if latencies or each.kind != "latency"), None)
    if stage is not None:
        if stage.kind == "latency":
            hint = "take the latency out of the recipe, or run without --strict"
            raise UsageError(f"{what}, and '{stage.name}' measures a time", hint=hint)
        hint = "give it a budget in epochs or steps"
        raise UsageError(f"{what}, and '{stage.name}' trains for a time", hint=hint)


@contextmanager
def file_faults() -> Iterator[None]:
    """Tell what is wrong with an `etude.toml` as a recipe's mistakes are told. Raises RecipeFaultError."""
    try:
        yield
    except TargetFileError as error:
        raise RecipeFaultError([error.file], error.diagnostics) from error


def settings_for(target: Target, workflow: Workflow | None = None) -> Settings:
    """How stages run on a target; those of `workflow` may have settings of their own. Raises RecipeFaultError."""
    from etude.runtime.stages import Settings
    from etude.runtime.targets.stages import settings_by_stage

    assert target.backend is not None
    with file_faults():
        stages = {} if workflow is None else settings_by_stage(target, workflow)
    return Settings(
        backend=target.backend,
        device=target.device,
        precision=target.precision,
        random=target.random,
        compile=target.compile,
        mesh=target.mesh,
        stages=stages,
    )


def opened_store(path: Path, remote: str | None, *folders: Path) -> Store:
    """The store, with what the `etude.toml` of these folders says of it. Raises StoreError, UsageError."""
    from etude.runtime.cli.settings import project_settings
    from etude.runtime.store import Store

    settings = project_settings(*folders, Path())
    return Store(path, verify=settings.verify, remote=remote or settings.remote)


@contextmanager
def store_to_read(path: Path, remote: str | None = None, *folders: Path) -> Iterator[Store]:
    """The store, or an empty one for the moment where there is none: looking makes no folder."""
    import tempfile

    if path.is_dir():
        yield opened_store(path, remote, *folders)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield opened_store(Path(folder), remote, *folders)
