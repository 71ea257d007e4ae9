"""The settings of a target: what each may be, and on which backend and device it is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etude.backends.meshes import AXES
from etude.backends.numerics import PRECISIONS, RANDOMS
from etude.runtime.devices import GPUS, TPUS

if TYPE_CHECKING:
    from etude.runtime.targets import Target

BACKENDS = ("torch", "jax")
TOPOLOGY = re.compile(rf"({'|'.join(TPUS)}):([1-9]\d*)x([1-9]\d*)(x[1-9]\d*)?")
SPELLINGS = {"gpu": "cuda"}  # the one name of a device for its other one


def _always(target: Target) -> str | None:
    return None


def _compiled(target: Target) -> str | None:
    is_off = target.settings.get("compile") is False
    return "jax compiles every step" if target.backend == "jax" and is_off else None


def _drawn(target: Target) -> str | None:
    is_compiled = target.settings.get("compile", target.compile) and target.backend == "torch"
    return "what torch compiles draws portable numbers" if is_compiled and target.random == "native" else None


def _shared(target: Target) -> str | None:
    return None if target.backend == "jax" else f"{target.backend} computes a stage on one device; jax on several"


def _is_mesh(value: Any) -> bool:
    sizes = [value[name] for name in AXES if name in value] if isinstance(value, dict) else []
    return bool(sizes) and all(type(size) is int and size > 0 for size in sizes)


def _tpu_only(target: Target) -> str | None:
    return None if target.device == "tpu" else f"only a TPU has a topology, and this target's device is {target.device}"


def _gpu_only(target: Target) -> str | None:
    is_gpu = target.device == "cuda"
    return None if is_gpu else f"only a GPU is chosen by its chip, and this target's device is {target.device}"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """`accepts` says whether a value will do, `wants` what would; `unread` why nothing reads it, or None.

    A setting that is a table may have `keys`.
    """

    accepts: Callable[[Any], bool]
    wants: str
    unread: Callable[[Target], str | None] = _always
    is_per_stage: bool = False
    keys: tuple[str, ...] = ()

    @classmethod
    def one_of(cls, choices: tuple[str, ...], **rest: Any) -> Setting:
        """A setting that is one of some texts."""
        wants = ", ".join(f'"{choice}"' for choice in choices)
        return cls(accepts=lambda value: isinstance(value, str) and value in choices, wants=wants, **rest)


SETTINGS: Mapping[str, Setting] = {
    "device": Setting.one_of(("cpu", "gpu", "cuda", "tpu", "auto")),
    "backend": Setting.one_of(BACKENDS),
    "precision": Setting.one_of(PRECISIONS, is_per_stage=True),
    "random": Setting.one_of(RANDOMS, unread=_drawn, is_per_stage=True),
    "compile": Setting(
        accepts=lambda value: isinstance(value, bool), wants="true or false", unread=_compiled, is_per_stage=True
    ),
    "mesh": Setting(
        accepts=_is_mesh,
        wants="numbers of devices, at least 1, as {data = 8, model = 2} or one of them",
        unread=_shared,
        is_per_stage=True,
        keys=AXES,
    ),
    "topology": Setting(
        accepts=lambda value: isinstance(value, str) and TOPOLOGY.fullmatch(value) is not None,
        wants=f'one of {", ".join(TPUS)} with its chips, as "v5e:2x2"',
        unread=_tpu_only,
    ),
    "chip": Setting.one_of(tuple(GPUS), unread=_gpu_only),
}
PER_STAGE = {name: setting for name, setting in SETTINGS.items() if setting.is_per_stage}
STAGE = "stage"
