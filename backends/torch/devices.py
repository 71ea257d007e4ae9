"""Where PyTorch computes, and the settings that make it compute the same every time."""

from __future__ import annotations

import gc
import os
from typing import Any

# cuBLAS is deterministic only with a fixed workspace, which it reads before its first use.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

from etude.backends.base import DeviceMissingError
from etude.backends.feeding import device_limit, host_limit


def prepare(device: str = "auto", threads: int | None = None) -> torch.device:
    """Choose "cpu", "cuda", or whichever there is ("auto"), and make it deterministic and full float32.

    Raises DeviceMissingError.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False  # sums of products stay in float32
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda"):
        raise DeviceMissingError("torch", device, "it computes on cpu and cuda")
    if device == "cuda" and not torch.cuda.is_available():
        built = "no driver or no card answers" if torch.version.cuda else "this build of torch is without CUDA"
        raise DeviceMissingError("torch", device, built)
    return torch.device(device)


def resident_bytes(device: torch.device) -> int:
    """Bytes of columns that a stage holds on the device; more than that is read as it is needed."""
    return device_limit(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else host_limit()


def release(device: torch.device) -> None:
    """Give memory that no tensor takes back to the driver, for other processes on the same GPU."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def describe(device: torch.device) -> dict[str, Any]:
    """Versions and the device, as a run's record states them."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "backend": "torch",
        "versions": {"torch": torch.__version__},
        "device": device.type,
        "device_name": name,
        "threads": torch.get_num_threads(),
    }


def memory(device: torch.device) -> int | None:
    """Bytes of memory of an accelerator."""
    return None if device.type == "cpu" else int(torch.cuda.get_device_properties(device).total_memory)
