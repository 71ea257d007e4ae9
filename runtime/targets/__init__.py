"""Targets: where and how recipes run. A recipe never names a device; a target does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.backends.numerics import Precision, Random
from etude.runtime.devices import GPUS, TPUS
from etude.runtime.targets.faults import unread_setting
from etude.runtime.targets.file import TargetError, TargetFile, TargetFileError, problems_of, read_file
from etude.runtime.targets.meshes import of_other_topology
from etude.runtime.targets.settings import BACKENDS, PER_STAGE, SETTINGS, SPELLINGS, STAGE, TOPOLOGY

if TYPE_CHECKING:
    from etude.compiler.diagnostics import Diagnostic

__all__ = ["BACKENDS", "Target", "TargetError", "TargetFileError", "check_is_read", "find_target", "installed_backends"]
FILE = "etude.toml"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place to run. `backend` is None where the command line or what is installed decides.

    `topology` (of TPUs) and `chip` (a GPU) say for which hardware is planned. `stages` has settings for some stages, by
    name; `settings` are those that a file gave, as it gave them.
    """

    name: str
    device: str = "cpu"
    backend: str | None = None
    precision: Precision = "float32"
    random: Random = "portable"
    compile: bool = False
    mesh: Mapping[str, int] | None = None
    topology: str | None = None
    chip: str | None = None
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    file: TargetFile | None = field(default=None, compare=False, repr=False)


BUILT_IN = {
    "cpu": Target(name="cpu"),
    "gpu": Target(name="gpu", device="cuda"),
    "tpu": Target(name="tpu", device="tpu", backend="jax"),
}


def find_target(name: str, folder: Path) -> Target:
    """The target called `name`: from the nearest `etude.toml` that has it, in `folder` or above it, else built in.

    `gpu:CHIP` and `tpu:TOPOLOGY` are the built-in ones on that hardware. Raises TargetError, TargetFileError.
    """
    known = list(BUILT_IN)
    for file in files_above(folder):
        if name in file.tables:
            return _described(file, name)
        known += file.tables
    kind, colon, hardware = name.partition(":")
    if colon and kind in ("gpu", "tpu"):
        return _on_hardware(name, kind, hardware)
    if name in BUILT_IN:
        return BUILT_IN[name]
    import difflib

    close = difflib.get_close_matches(name, known, 1)
    there = f"there are {', '.join(dict.fromkeys(known))}"
    raise TargetError(f"there is no target '{name}'", hint=f"did you mean '{close[0]}'? {there}" if close else there)


def files_above(folder: Path) -> Iterator[TargetFile]:
    """Every `etude.toml` in a folder and those above it, the nearest first. Raises TargetError, TargetFileError."""
    here = folder.resolve()
    for each in (here, *here.parents):
        if (each / FILE).is_file():
            yield read_file(each / FILE)


def _on_hardware(name: str, kind: str, hardware: str) -> Target:
    if kind == "gpu":
        if hardware not in GPUS:
            raise TargetError(f"no GPU is known as '{hardware}'", hint=f"there are {', '.join(GPUS)}")
        return replace(BUILT_IN["gpu"], name=name, chip=hardware)
    if not TOPOLOGY.fullmatch(hardware):
        hint = f"write one of {', '.join(TPUS)} and its chips, as in tpu:v5e:2x2"
        raise TargetError(f"'{hardware}' is no topology of TPUs", hint=hint)
    return replace(BUILT_IN["tpu"], name=name, topology=hardware)


def _described(file: TargetFile, name: str) -> Target:
    problems = list(problems_of(file, name))
    if problems:
        raise TargetFileError(file.source.name, problems)
    table = dict(file.tables[name])
    stages = table.pop(STAGE, {})
    values = {key: SPELLINGS.get(value, value) if key == "device" else value for key, value in table.items()}
    target = replace(BUILT_IN.get(name, Target(name=name)), **values, stages=stages, settings=table, file=file)
    return replace(target, backend="jax") if target.device == "tpu" and target.backend is None else target


def check_is_read(target: Target) -> None:
    """Refuse settings that nothing reads on the target's backend and device, or that contradict one another.

    Raises TargetFileError.
    """
    problems = [*_unread(target), *of_other_topology(target)]
    if problems:
        assert target.file is not None
        raise TargetFileError(target.file.source.name, problems)


def _unread(target: Target) -> Iterator[Diagnostic]:
    if target.file is None:
        return
    read = [name for name, setting in SETTINGS.items() if setting.unread(target) is None]
    owner = f"the target '{target.name}'"
    if target.device == "tpu" and target.backend == "torch":
        place = "backend" if "backend" in target.settings else "device"
        yield unread_setting(place, owner, target.file.location(target.name, place), "torch runs on no TPU", read)
    for key in target.settings:
        reason = SETTINGS[key].unread(target)
        if reason is not None:
            yield unread_setting(key, owner, target.file.location(target.name, key), reason, read)
    for stage, settings in target.stages.items():
        of_stage = replace(target, settings=settings, **settings)
        for key in settings:
            reason = PER_STAGE[key].unread(of_stage)
            if reason is not None:
                location = target.file.location(target.name, STAGE, stage, key)
                per_stage = [name for name in PER_STAGE if name in read]
                yield unread_setting(key, f"'{stage}' of {owner}", location, reason, per_stage)


def installed_backends() -> list[str]:
    """The backends whose framework is there; nothing is imported."""
    import importlib.util

    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
