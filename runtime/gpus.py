"""The accelerators that a run may use, told without a framework: their drivers' files, or what the environment says."""

from __future__ import annotations

import os
import re
from pathlib import Path

DEVICES = Path("/dev")
NODE = re.compile(r"nvidia\d+")
TPU_NODES = ("accel*", "vfio/[0-9]*")  # of older and of newer drivers
VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each of them; empty where it cannot be told.

    As CUDA does, nothing is taken from that variable behind the first device that there is not.
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        nodes = DEVICES.iterdir() if DEVICES.is_dir() else ()
        return [str(number) for number in range(sum(1 for node in nodes if NODE.fullmatch(node.name)))]
    names = [name.strip() for name in given.split(",")]
    end = next((place for place, name in enumerate(names) if not name or name.startswith("-")), len(names))
    return names[:end]


def visible_devices(device: str) -> int | None:
    """How many GPUs or TPU chips there are; None where it cannot be told."""
    if device == "cuda":
        return len(visible_gpus()) or None
    if device == "tpu":
        return next((count for each in TPU_NODES if (count := sum(1 for _ in DEVICES.glob(each)))), None)
    return None
