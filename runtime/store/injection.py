"""Faults on purpose, for tests: kill, or fail, at the n-th durable file operation of a run, or a step of a training.

`ETUDE_INJECT=KIND:N:TRACE` arms it; N counts over all processes of the run, by the lines of the file TRACE, which says
in the end what was done, by whom and in which order. Kinds: `count` only counts; `kill` kills the process that is at
it, `kill-run` the scheduler, too; `memory` runs out of memory there; `full` and `readonly` refuse from then on. Without
it, all that is left is a call.

`ETUDE_INJECT_STEP=KIND:N,..` acts once a training has done N steps. Kinds: `kill` kills its process; `kill-run` that of
the run, too; `interrupt` and `terminate` send the run what Ctrl-C and the end of a session send, and wait for it to ask
for a stop; `interrupt-twice` sends it again then; `worker-terminate` asks only the training's process to end.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

VARIABLE, STEP_VARIABLE = "ETUDE_INJECT", "ETUDE_INJECT_STEP"
LINE_BYTES = 256
REFUSED_WHEN_FULL = {"create", "write", "fsync", "mkdir"}

Check = Callable[[str, Path], None]
StepCheck = Callable[[int, Callable[[], bool], Path], None]
SENT = {
    "interrupt": signal.SIGINT,
    "interrupt-twice": signal.SIGINT,
    "terminate": signal.SIGTERM,
    "worker-terminate": signal.SIGTERM,
}


def armed(setting: str) -> Check:
    """What `ETUDE_INJECT` asks for, as a function that is called before each operation."""
    kind, number, trace = setting.split(":", 2)
    is_worker = _is_worker()

    def check(operation: str, path: Path) -> None:
        count = _noted(trace, f"{'worker' if is_worker else 'run'} {os.getpid()} {operation} {path}")
        if kind.startswith("kill") and count == int(number):
            if kind == "kill-run" and is_worker:
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "memory" and count == int(number):
            raise MemoryError
        if kind == "full" and count >= int(number) and operation in REFUSED_WHEN_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if kind == "readonly" and count >= int(number):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    return check


def read_trace(path: Path) -> list[list[str]]:
    """Who did what so far: a list of [process, pid, operation, path]."""
    data = path.read_bytes() if path.exists() else b""
    lines = [data[start : start + LINE_BYTES].decode().rstrip() for start in range(0, len(data), LINE_BYTES)]
    return [line.split(" ", 3) for line in lines]


def _noted(trace: str, line: str) -> int:
    """Append a line of fixed length; the result is its number, from 1."""
    import fcntl

    descriptor = os.open(trace, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        number = os.fstat(descriptor).st_size // LINE_BYTES + 1
        os.write(descriptor, line.encode()[: LINE_BYTES - 1].ljust(LINE_BYTES - 1) + b"\n")
        return number
    finally:
        os.close(descriptor)


def _is_worker() -> bool:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name == "etude.runtime.worker"


def _nothing(operation: str, path: Path) -> None:
    """Let every operation pass."""


def armed_step(setting: str) -> StepCheck:
    """What `ETUDE_INJECT_STEP` asks for, as a function of the steps done, whether a stop was asked for, and a folder.

    The folder remembers what was done, with the number of the process, so that it is not done again after that.
    """
    kind, numbers = setting.split(":")
    steps = [int(number) for number in numbers.split(",")]

    def check(done: int, stop: Callable[[], bool], folder: Path) -> None:
        mark = folder / f"{kind}-{done}"
        if done not in steps or mark.exists():
            return
        mark.write_text(str(os.getpid()))
        if kind.startswith("kill"):
            if kind == "kill-run":
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid() if kind == "worker-terminate" else os.getppid(), SENT[kind])
        while not stop():
            time.sleep(0.001)
        if kind == "interrupt-twice":
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(3600)

    return check


def _no_step(done: int, stop: Callable[[], bool], folder: Path) -> None:
    """Let every step pass."""


after_step: StepCheck = armed_step(os.environ[STEP_VARIABLE]) if STEP_VARIABLE in os.environ else _no_step
before: Check = armed(os.environ[VARIABLE]) if VARIABLE in os.environ else _nothing
