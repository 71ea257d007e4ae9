"""The NVIDIA GPUs that a run may use, told without a framework: their driver's files, or what the environment says."""

from __future__ import annotations

import os
import re
from pathlib import Path

DEVICES = Path("/dev")
NODE = re.compile(r"nvidia\d+")
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
