"""Worker processes on this machine, started when there is work, each with its share of the processor's threads."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from etude.runtime.executors import Message
from etude.runtime.gpus import VARIABLE, visible_gpus
from etude.runtime.stages import Settings

Json = Any
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


SPENT = {
    "OutOfMemory",
    "DeviceFailed",
}  # after which a worker is replaced: it holds memory, or its device is lost to it
TERMINATE, WAIT_SECONDS = "--xla_cpu_collective_call_terminate_timeout_seconds", 3600
PLATFORMS = {"cpu": "cpu", "cuda": "cuda,cpu", "tpu": "tpu,cpu"}


@dataclass(eq=False)
class Worker:
    """One process and what it is doing; it `is_warm` once the framework is imported.

    `gpus` are those that it has, by their names (None: all that there are), and `is_alone` says that they are its own.
    """

    process: subprocess.Popen[bytes]
    gpus: tuple[str | None, ...] = (None,)
    is_alone: bool = False
    task: int | None = None
    is_warming: bool = False
    is_spent: bool = False
    is_warm: bool = False
    buffer: bytearray = field(default_factory=bytearray)

    @property
    def output(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def send(self, message: Json) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def lines(self) -> list[bytes] | None:
        """Whole lines that have come; None when the process has ended."""
        data = os.read(self.output, 1 << 16)
        if not data:
            return None
        self.buffer += data
        *lines, rest = self.buffer.split(b"\n")
        self.buffer = bytearray(rest)
        return [bytes(line) for line in lines]


class LocalExecutor:
    """A pool of at most `jobs` worker processes. `log` receives what they print."""

    def __init__(self, settings: Settings, jobs: int, log: Path, *, warm: bool = False) -> None:
        self.settings, self.jobs = settings, jobs
        self._log: IO[bytes] = log.open("ab")
        self._workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()
        self._warm = warm
        self._has_gpus = settings.device in ("cuda", "auto")
        gpus = visible_gpus() if self._has_gpus else []
        self._gpus: list[str | None] = [*gpus] if len(gpus) > 1 else [None]

    def has_room(self, devices: int = 1) -> bool:
        is_full = sum(worker.task is not None for worker in self._workers) >= self.jobs
        return not is_full and len(self._free_gpus(devices)) >= self._count(devices)

    def submit(self, task: int, request: Mapping[str, Json]) -> None:
        """Give a task to an idle worker or to a new one.

        `request["framework"]` says whether it needs the framework, `request["devices"]` on how many devices.
        """
        devices = request.get("devices", 1)
        worker = self._best_idle(bool(request.get("framework")), devices) or self._start(devices)
        worker.task = task
        worker.is_warm |= bool(request.get("framework"))
        self._tell(worker, {**request, "task": task})
        if self._warm and len(self._workers) < self.jobs and self._free_gpus(1):
            self._prepare(self._start())

    def _best_idle(self, needs_framework: bool, devices: int) -> Worker | None:
        """The idle worker that is ready first: one that is importing the framework is ahead of all that would have to,
        and behind a new one for a task that does not need it."""
        idle = [worker for worker in self._workers if worker.task is None]
        if needs_framework:
            shape, free = (self._is_alone(devices), self._count(devices)), {*self._free_gpus(devices)}
            idle = [each for each in idle if (each.is_alone, len(each.gpus)) == shape and {*each.gpus} <= free]
            return min(idle, key=lambda worker: (not worker.is_warm, not worker.is_warming), default=None)
        best = min(idle, key=lambda worker: (worker.is_warming, worker.is_warm), default=None)
        return None if best is not None and best.is_warming and len(self._workers) < self.jobs else best

    def poll(self, seconds: float) -> list[Message]:
        messages: list[Message] = []
        for key, _ in self._selector.select(seconds):
            messages += self._received(key.data) if key.data in self._workers else []
        return messages

    def stop(self) -> None:
        for worker in self._workers:
            if worker.task is not None:
                self._tell(worker, {"stop": worker.task})

    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in list(self._workers):
            self._forget(worker)
        self._selector.close()
        self._log.close()

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, devices: int = 1) -> Worker:
        """A new worker with its GPUs: those that have the fewest workers.

        Idle workers that it cannot be beside, or in whose place it comes, are ended.
        """
        counts = Counter(gpu for worker in self._workers for gpu in worker.gpus)
        free = sorted(self._free_gpus(devices), key=lambda gpu: counts[gpu])
        chosen, is_alone = free[: self._count(devices)], self._is_alone(devices)
        gpus = tuple(gpu for gpu in self._gpus if gpu in chosen)
        for idle in [worker for worker in self._workers if worker.task is None]:
            is_beside = (is_alone or idle.is_alone) and {*gpus} & {*idle.gpus}
            if is_beside or len(self._workers) >= self.jobs:
                self._end(idle)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "etude.runtime.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=worker_environment(self.settings, gpus),
            start_new_session=True,  # Ctrl-C is for the scheduler, which then ends its workers
        )
        worker = Worker(process, gpus, is_alone)
        self._workers.append(worker)
        self._selector.register(worker.output, selectors.EVENT_READ, worker)
        return worker

    def _is_alone(self, devices: int) -> bool:
        """Whether what computes on so many devices has GPUs of its own."""
        return self._has_gpus and devices > 1

    def _count(self, devices: int) -> int:
        """How many GPUs are chosen for it; where they cannot be told apart they count as one."""
        return min(devices, len(self._gpus)) if self._has_gpus else 1

    def _free_gpus(self, devices: int) -> list[str | None]:
        """The GPUs that nobody is computing on, who would have them alone or beside whom that cannot be."""
        busy = [worker for worker in self._workers if worker.task is not None]
        taken = {gpu for worker in busy if worker.is_alone or self._is_alone(devices) for gpu in worker.gpus}
        return [gpu for gpu in self._gpus if gpu not in taken]

    def _prepare(self, worker: Worker) -> None:
        worker.is_warming = True
        self._tell(worker, {"warm": asdict(self.settings)})

    def _tell(self, worker: Worker, message: Json) -> None:
        try:
            worker.send(message)
        except BrokenPipeError:
            return  # it has died; the end of its output says so, too, and is dealt with there

    def _received(self, worker: Worker) -> list[Message]:
        lines = worker.lines()
        if lines is None:
            return self._ended(worker)
        messages = [message for line in lines if (message := self._understood(worker, json.loads(line)))]
        if worker.is_spent:
            self._end(worker)
            for idle in [each for each in self._workers if each.task is None and {*each.gpus} & {*worker.gpus}]:
                self._end(idle)  # an allocator keeps what stages have freed, on a GPU for good
        return messages

    def _understood(self, worker: Worker, data: dict[str, Json]) -> Message | None:
        kind = data.pop("kind")
        if kind == "warm":
            worker.is_warming, worker.is_warm = False, True
            return None
        if kind in {"done", "failed", "stopped"}:
            worker.task = None
            worker.is_spent = data.get("error") in SPENT
        return Message(data.pop("task"), kind, data)

    def _end(self, worker: Worker) -> None:
        worker.process.kill()
        self._forget(worker)

    def _ended(self, worker: Worker) -> list[Message]:
        """A worker that ends by itself takes its task with it."""
        code = self._forget(worker)
        if worker.task is None:
            self._warm = False  # importing the framework failed: the stage that needs it will say why
            return []
        message = f"the worker process ended: {exit_reason(code)}"
        details = {"message": message, "error": "WorkerEnded", "traceback": message, "seconds": 0.0, "checkpoint": None}
        return [Message(worker.task, "failed", details)]

    def _forget(self, worker: Worker) -> int:
        self._selector.unregister(worker.output)
        self._workers.remove(worker)
        assert worker.process.stdin is not None and worker.process.stdout is not None
        worker.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            worker.process.stdin.close()
        return worker.process.wait()


def worker_environment(settings: Settings, gpus: Sequence[str | None] = (None,)) -> dict[str, str]:
    """The environment of a worker: capped threads, and no accelerator that the run did not ask for."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(settings.threads))}
    # Threads that wait for work otherwise spin for milliseconds, on cores that others could use: on a busy machine a
    # training of small tensors takes five times as long.
    environment.setdefault("GOMP_SPINCOUNT", "10000")
    if settings.devices > 1 and settings.device in ("cpu", "auto"):
        environment["XLA_FLAGS"] = " ".join([*os.environ.get("XLA_FLAGS", "").split(), *host_devices(settings.devices)])
    if settings.device == "cpu":
        environment["JAX_PLATFORMS"] = "cpu"
        return environment
    if settings.device in PLATFORMS:  # others that are installed would be started, and complain
        environment.setdefault("JAX_PLATFORMS", PLATFORMS[settings.device])
    environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the device is shared by all workers
    if not {"XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"} & environment.keys():
        environment["XLA_CLIENT_MEM_FRACTION"] = "0.95"  # of what is there; JAX would stop at three quarters
    named = [gpu for gpu in gpus if gpu is not None]
    return environment | ({VARIABLE: ",".join(named)} if named else {})


def host_devices(count: int) -> list[str]:
    """XLA's settings for so many devices on the processor. They wait for one another: on a busy machine for long."""
    return [f"--xla_force_host_platform_device_count={count}", f"{TERMINATE}={WAIT_SECONDS}"]


def exit_reason(code: int) -> str:
    """What an exit code says to people.

    >>> exit_reason(-9)
    'killed by signal 9 (SIGKILL), often for want of memory'
    """
    import signal

    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by signal {-code} ({name})" + (", often for want of memory" if name == "SIGKILL" else "")
    return f"exit code {code}, see workers.log"
