"""What accelerators have: memory, bandwidth, and the most that they compute, as their makers state it.

GPUs: NVIDIA's data sheets (SXM modules where there are several; dense, without sparsity; float32 outside of tensor
cores, since TF32 is off here). TPUs: Google Cloud's pages on system architecture, a chip; a product in float32 takes
six passes in bfloat16. Looked up in November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etude.backends.numerics import Precision

GIB = 2**30
RESERVED = GIB  # what the driver, the framework and its libraries take of a GPU before the first tensor
PASSES = 6


@dataclass(frozen=True)
class Accelerator:
    """One chip: memory in bytes, bandwidth in bytes a second, most operations a second by precision."""

    name: str
    memory: int
    bandwidth: float
    float32: float
    bf16: float

    def flops_per_second(self, precision: Precision) -> float:
        """The most that it computes in a second."""
        return self.bf16 if precision == "bf16" else self.float32


def _gpu(name: str, gib: float, gigabytes: float, float32: float, bf16: float) -> Accelerator:
    return Accelerator(name, round(gib * GIB) - RESERVED, gigabytes * 1e9, float32 * 1e12, bf16 * 1e12)


def _tpu(name: str, gib: float, gigabytes: float, bf16: float) -> Accelerator:
    return Accelerator(name, round(gib * GIB), gigabytes * 1e9, bf16 * 1e12 / PASSES, bf16 * 1e12)


GPUS: Mapping[str, Accelerator] = {
    "b200": _gpu("NVIDIA B200", 180, 7700, 75, 2250),
    "h200": _gpu("NVIDIA H200", 140, 4800, 67, 989),
    "h100": _gpu("NVIDIA H100", 80, 3350, 67, 989),
    "a100-80g": _gpu("NVIDIA A100 80GB", 80, 2039, 19.5, 312),
    "a100-40g": _gpu("NVIDIA A100 40GB", 40, 1555, 19.5, 312),
    "l40s": _gpu("NVIDIA L40S", 48, 864, 91.6, 362),
    "l4": _gpu("NVIDIA L4", 24, 300, 30.3, 121),
    "rtx4090": _gpu("NVIDIA GeForce RTX 4090", 24, 1008, 82.6, 165),
    "rtx3090": _gpu("NVIDIA GeForce RTX 3090", 24, 936, 35.6, 71),
}
TPUS: Mapping[str, Accelerator] = {
    "v4": _tpu("TPU v4", 32, 1228, 275),
    "v5e": _tpu("TPU v5e", 16, 819, 197),
    "v5p": _tpu("TPU v5p", 95, 2765, 459),
    "v6e": _tpu("TPU v6e", 32, 1640, 918),
}
