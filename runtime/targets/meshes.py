"""Whether the meshes of a target are those that its devices can make."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from etude.backends.meshes import mesh_shape
from etude.runtime.targets.faults import other_devices
from etude.runtime.targets.file import TargetFileError
from etude.runtime.targets.settings import STAGE

if TYPE_CHECKING:
    from etude.compiler.diagnostics import Diagnostic
    from etude.runtime.targets import Target

NAMES = {"cuda": "GPU", "tpu": "TPU chip"}


def meshes_of(target: Target) -> Iterator[tuple[str, tuple[str, ...], Mapping[str, int]]]:
    """The mesh of a target and those of its stages: (what has it, the keys that lead there, the mesh)."""
    owner = f"the target '{target.name}'"
    if target.mesh is not None:
        yield owner, (target.name, "mesh"), target.mesh
    for stage, settings in target.stages.items():
        if "mesh" in settings:
            yield f"'{stage}' of {owner}", (target.name, STAGE, stage, "mesh"), settings["mesh"]


def chips_in(topology: str) -> int:
    """
    >>> chips_in("v5e:2x4"), chips_in("v4:2x2x1")
    (8, 4)
    """
    return math.prod(map(int, topology.partition(":")[2].split("x")))


def of_other_topology(target: Target) -> Iterator[Diagnostic]:
    """The meshes that do not take all chips of the target's topology."""
    if target.topology is not None:
        count = chips_in(target.topology)
        there = f"{target.topology} has {count} chip{'s' if count > 1 else ''}"
        yield from _others(target, there, count, lambda size: size != count)


def refuse_missing_devices(target: Target) -> None:
    """Refuse meshes that take more devices than this machine has, where that can be told without a framework.

    Raises TargetFileError.
    """
    from etude.runtime.gpus import visible_devices

    count = visible_devices(target.device)
    if count is None:
        return
    there = f"this machine has {count} {NAMES[target.device]}{'s' if count > 1 else ''}"
    problems = list(_others(target, there, count, lambda size: size > count))
    if problems:
        assert target.file is not None
        raise TargetFileError(target.file.source.name, problems)


def _others(target: Target, there: str, count: int, is_wrong: Callable[[int], bool]) -> Iterator[Diagnostic]:
    for owner, path, mesh in meshes_of(target):
        shape = mesh_shape(mesh)
        if is_wrong(shape.size if shape else 1):
            assert target.file is not None
            yield other_devices(owner, mesh, target.file.location(*path), there, count)
