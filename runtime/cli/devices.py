"""Whether the device of a target is here: asked once, before anything runs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from etude.runtime.cli.faults import UsageError
from etude.runtime.gpus import visible_gpus

if TYPE_CHECKING:
    from etude.compiler.workflow import Stage
    from etude.runtime.stages import Settings

PROBE_SECONDS = 90
PROBE = """\
import sys
from etude.backends.base import DeviceMissingError, TooFewDevicesError, load
from etude.backends.meshes import mesh_shape
from etude.backends.numerics import Numerics
try:
    load(sys.argv[1], device=sys.argv[2], numerics=Numerics(mesh=mesh_shape({"data": int(sys.argv[3])})))
except DeviceMissingError as error:
    print(error.reason)
except TooFewDevicesError as error:
    print(error)
"""
WITHOUT_CUDA = re.compile(r"^cuda\b.*= None$", re.MULTILINE)
HINT = "`etude doctor` tells which devices each backend finds here; the target cpu is the processor"


def refuse_missing_device(settings: Settings, backends: Iterable[str], stages: Iterable[Stage]) -> None:
    """Raise UsageError when one of these stages would run on a device that a backend does not find here."""
    from etude.compiler.keys import uses_backend

    if settings.device in ("cpu", "auto") or not any(uses_backend(stage) for stage in stages):
        return
    for backend in backends:
        reason = missing_device(settings, backend)
        if reason is not None:
            raise UsageError(f"{backend} finds no device '{settings.device}' here: {reason}", hint=HINT)


def missing_device(settings: Settings, backend: str) -> str | None:
    """Why a backend does not find the device, None where it does, by the backend itself in a process of its own.

    Where there is a GPU, and a framework made for it, nobody is asked: that takes seconds.
    """
    from etude.runtime.executors.local import worker_environment

    if settings.device == "cuda" and visible_gpus() and _has_cuda(backend):
        return None
    command = [sys.executable, "-P", "-c", PROBE, backend, settings.device, str(settings.devices)]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_SECONDS, env=worker_environment(settings, ())
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {PROBE_SECONDS} s"
    said = answer.stdout.strip().splitlines()
    return said[-1] if said else None


def _has_cuda(backend: str) -> bool:
    """Whether a framework seems to be made for NVIDIA's GPUs, as far as its files tell."""
    found = importlib.util.find_spec(backend)
    if found is None or found.origin is None:
        return False
    folder = Path(found.origin).parent
    if backend == "jax":
        return any(folder.parent.glob("jax_cuda*"))
    version = folder / "version.py"
    return version.is_file() and WITHOUT_CUDA.search(version.read_text(encoding="utf-8")) is None
