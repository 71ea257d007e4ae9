"""Which process something belongs to, and whether that process is gone."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path


def this_process() -> dict[str, object]:
    """What identifies this process to others: see `holder_is_gone`."""
    return {"pid": os.getpid(), "machine": machine(), "born": _born(os.getpid()), "since": time.time()}


def holder_is_gone(holder: dict[str, object]) -> bool:
    """Whether a process ran on this machine and does no more; False where that cannot be known."""
    pid = holder.get("pid")
    if not isinstance(pid, int) or holder.get("machine") != machine():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    born = holder.get("born")
    return born is not None and _born(pid) != born  # the number was given to another process


@cache
def machine() -> str:
    """This machine since it was started, and its table of processes: a process number means nothing elsewhere."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = processes = ""
    return f"{os.uname().nodename} {boot} {processes}"


def _born(pid: int) -> int | None:
    """When a process was started, in the kernel's ticks; None where that cannot be known, or it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if state == "Z" else int(fields[18])
    except (OSError, IndexError, ValueError):
        return None
