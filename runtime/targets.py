"""Targets: where and how recipes run. A recipe never names a device; a target does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

FILE = "etude.toml"
BACKENDS = ("torch", "jax")
PRECISIONS = ("float32",)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place to run. `backend` is None where the command line or what is installed decides."""

    name: str
    device: str = "cpu"
    backend: str | None = None
    precision: str = "float32"


BUILT_IN = {
    "cpu": Target(name="cpu"),
    "gpu": Target(name="gpu", device="cuda"),
    "tpu": Target(name="tpu", device="tpu", backend="jax"),
}
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "backend": BACKENDS,
    "device": ("cpu", "cuda", "tpu", "auto"),
    "precision": PRECISIONS,
}


class TargetError(Exception):
    """There is no such target, or its description is wrong."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def find_target(name: str, folders: Iterable[Path]) -> Target:
    """The target called `name`, from the first `etude.toml` in `folders` that has it, else built in.

    Raises TargetError.
    """
    known = list(BUILT_IN)
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        described = read_targets(folder / FILE)
        if name in described:
            return described[name]
        known += described
    if name in BUILT_IN:
        return BUILT_IN[name]
    raise TargetError(f"there is no target '{name}'", hint=f"there are {', '.join(dict.fromkeys(known))}")


def read_targets(path: Path) -> dict[str, Target]:
    """The targets of a file; none where there is no file. Raises TargetError."""
    if not path.is_file():
        return {}
    import tomllib

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"{path}: {error}") from error
    return {name: _target(path, name, settings) for name, settings in data.get("target", {}).items()}


def _target(path: Path, name: str, settings: Mapping[str, Any]) -> Target:
    target = BUILT_IN.get(name, Target(name=name))
    for key, value in settings.items():
        if key not in SETTINGS:
            raise TargetError(
                f"{path}: nothing reads '{key}' of the target '{name}'", hint=f"it has {_listed(SETTINGS)}"
            )
        if value not in SETTINGS[key]:
            hint = f"it is one of {_listed(SETTINGS[key])}"
            raise TargetError(f"{path}: '{key}' of the target '{name}' cannot be {value!r}", hint=hint)
    return replace(target, name=name, **settings)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def installed_backends() -> list[str]:
    """The backends whose framework is there; nothing is imported."""
    import importlib.util

    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
