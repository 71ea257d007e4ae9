"""Where JAX computes. Its thread pools are sized when it first computes, so `prepare` must come before that."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import jax

from etude.backends.base import DeviceMissingError
from etude.backends.feeding import device_limit, host_limit


def prepare(device: str = "auto", threads: int | None = None) -> jax.Device:
    """Choose "cpu", "cuda", or whichever there is ("auto"), in full float32, with compiled steps kept between runs.

    Raises DeviceMissingError.
    """
    if threads is not None:
        os.environ["NPROC"] = str(threads)  # XLA's own name for the processors it may use
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")  # otherwise every plug-in that is installed is started, and speaks
    jax.config.update("jax_default_matmul_precision", "float32")
    _keep_compiled(compiled_folder())
    if device == "auto":
        return jax.devices()[0]
    try:
        return jax.devices("gpu" if device == "cuda" else device)[0]
    except RuntimeError as error:
        raise DeviceMissingError("jax", device, str(error).splitlines()[0]) from error


def processor_threads() -> int:
    """How many threads XLA computes with."""
    return int(os.environ.get("NPROC") or os.cpu_count() or 1)


def compiled_folder() -> Path:
    """The user's own folder for code compiled for this kind of processor and so many threads: neither is part of JAX's
    key, and a home may be shared by several machines."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    digest = hashlib.sha256(_processor() + str(processor_threads()).encode()).hexdigest()[:16]
    return Path(home).expanduser() / "etude" / f"xla-{digest}"


def _processor() -> bytes:
    info = Path("/proc/cpuinfo")
    lines = info.read_bytes().splitlines() if info.exists() else [platform.processor().encode()]
    features = [line for line in lines if line.startswith((b"flags", b"Features", b"model name"))]
    return b"\n".join([platform.machine().encode(), *sorted(set(features or lines))])


def _keep_compiled(folder: Path) -> None:
    """Keep all compiled code: compiling takes most of the time of a small run."""
    with contextlib.suppress(OSError):  # without a folder to write to, each run compiles
        folder.mkdir(parents=True, exist_ok=True)
    if jax.config.jax_compilation_cache_dir is None and os.access(folder, os.W_OK):  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def resident_bytes(device: jax.Device) -> int:
    """Bytes of columns that a stage holds on the device; more than that is read as it is needed."""
    memory = device.memory_stats() if device.platform != "cpu" else None
    return device_limit(memory["bytes_limit"] - memory["bytes_in_use"]) if memory else host_limit()


def release(device: jax.Device) -> None:
    """Let go of arrays that only cycles of references hold, as a traceback's do."""
    if device.platform != "cpu":
        gc.collect()


def describe(device: jax.Device) -> dict[str, Any]:
    """Versions and the device, as a run's record states them."""
    import flax
    import optax

    versions = {"jax": jax.__version__, "flax": flax.__version__, "optax": optax.__version__}
    kind = "cuda" if device.platform == "gpu" else device.platform
    return {
        "backend": "jax",
        "versions": versions,
        "device": kind,
        "device_name": device.device_kind,
        "threads": processor_threads(),
    }


def memory(device: jax.Device) -> int | None:
    """Bytes of memory of an accelerator, as far as it says."""
    found = None if device.platform == "cpu" else device.memory_stats()
    return int(found["bytes_limit"]) if found and "bytes_limit" in found else None
