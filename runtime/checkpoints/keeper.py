"""When a training keeps how far it is, and the thread that writes it while the training goes on."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from etude import __version__
from etude.backends.snapshots import Snapshot
from etude.runtime.checkpoints import SECONDS_VARIABLE, STEPS_VARIABLE, partial_folder
from etude.runtime.checkpoints.folder import CheckpointFolder, DamagedCheckpointError, OtherMakerError
from etude.runtime.stages import Job
from etude.runtime.store import StoreError
from etude.runtime.store.injection import after_step

Json = Any
FLOOR_SECONDS = 30.0
SHARE = 0.015  # of the time since the first step. Seen from outside it costs more: 3 % are promised
SPEED = 400e6  # bytes a second that are copied, hashed and written, as long as nothing was measured
OTHERWISE = ("threads", "mesh")  # what may be another: the bits are then not promised, but the training is as good


@dataclass(frozen=True)
class Pace:
    """How often: not before so many seconds, and as seldom as its cost asks for; or each so many steps, for tests."""

    seconds: float = FLOOR_SECONDS
    steps: int | None = None

    @classmethod
    def asked(cls) -> Pace:
        """What the environment asks for."""
        seconds, steps = os.environ.get(SECONDS_VARIABLE), os.environ.get(STEPS_VARIABLE)
        return cls(float(seconds) if seconds else FLOOR_SECONDS, int(steps) if steps else None)


class StepKeeper:
    """The `Keeper` of one training. `cost` is the seconds spent so far, by the training and by the thread.

    All of it together, with what the next one will cost, stays below the share: a short training with much to keep
    keeps nothing, as to train it again takes less.
    """

    def __init__(
        self,
        open_folder: Callable[[], CheckpointFolder],
        pace: Pace,
        emit: Callable[[dict[str, Json]], None],
        after_step: Callable[[int], None] = lambda step: None,
    ) -> None:
        self._open, self.pace, self._emit, self._after_step = open_folder, pace, emit, after_step
        self._folder: CheckpointFolder | None = None
        self._thread: threading.Thread | None = None
        self._begun: float | None = None
        self._next = 0.0
        self._expected = 0.0  # seconds of the next one
        self._last = 0
        self._has_failed = False
        self.cost = 0.0

    def latest(self) -> Snapshot | None:
        """The latest checkpoint that is whole and was made as this training makes them."""
        self._folder = self._open()
        for step in self._folder.steps():
            try:
                snapshot = self._folder.read(step)
            except DamagedCheckpointError:
                self._warn(f"the checkpoint of step {step} is damaged and not used")
            except OtherMakerError as error:
                self._warn(f"the checkpoint of step {step} is not used: it {error}")
            else:
                self._last = step
                return snapshot
        return None

    def is_due(self, step: int) -> bool:
        """Whether it is time, and the one before is written."""
        self._after_step(step)
        if self.pace.steps is not None:
            return step // self.pace.steps > self._last // self.pace.steps
        now = time.perf_counter()
        if self._begun is None:  # what was compiled or read before is no time of the training
            self._begun, self._next = now, now + self.pace.seconds
        return now >= self._next and not (self._thread is not None and self._thread.is_alive())

    def keep(self, take: Callable[[], Snapshot | None], *, wait: bool = False) -> bool:
        """Copy the training's state now, and write it behind its back; false where it is put off."""
        self.close()
        started = time.perf_counter()
        snapshot = take()
        if snapshot is None:
            return False
        waits = wait or self.pace.steps is not None
        if not waits and self._is_too_early(snapshot, started):
            return False
        self._last = snapshot.step
        self._thread = threading.Thread(target=self._write, args=(snapshot, started), name="checkpoint", daemon=True)
        self._thread.start()
        if waits:
            self.close()
        return True

    def _is_too_early(self, snapshot: Snapshot, started: float) -> bool:
        """Put off the first checkpoint where to write so much would take too large a share of the time so far."""
        now = time.perf_counter()
        if self._expected or self._begun is None:
            return False
        self._expected = snapshot.bytes / SPEED
        if self._expected <= SHARE * (now - self._begun):
            return False
        self.cost += now - started
        self._plan_next(now)
        return True

    def _plan_next(self, now: float) -> None:
        """The next one comes when it and all before it are below the share of the time."""
        begun = now if self._begun is None else self._begun
        self._next = max(now + self.pace.seconds, begun + (self.cost + self._expected) / SHARE)

    def close(self) -> None:
        """Wait until what is being written is there."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write(self, snapshot: Snapshot, started: float) -> None:
        assert self._folder is not None, "a training asks for the latest checkpoint first"
        try:
            size = self._folder.write(snapshot)
        except (StoreError, OSError) as error:
            if not self._has_failed:
                self._warn(f"no checkpoint could be written, the training goes on: {error}")
            self._has_failed = True
        else:
            cost = round(time.perf_counter() - started, 4)
            self._emit({"kind": "kept", "step": snapshot.step, "bytes": size, "cost": cost})
        now = time.perf_counter()
        self._expected = now - started
        self.cost += self._expected
        self._plan_next(now)

    def _warn(self, message: str) -> None:
        self._emit({"kind": "warning", "message": message})


@contextlib.contextmanager
def opened_keeper(job: Job) -> Iterator[StepKeeper | None]:
    """The keeper of a job's training in the store; None for a job without a key."""
    if job.key is None:
        yield None
        return
    folder = partial_folder(job.store, job.key)
    with keeper_in(folder, job, Pace.asked(), lambda step: after_step(step, job.stop, job.folder)) as keeper:
        yield keeper


@contextlib.contextmanager
def keeper_in(folder: Path, job: Job, pace: Pace, after_step: Callable[[int], None]) -> Iterator[StepKeeper]:
    """The keeper of a job's training in a folder; it is done writing at the end of the block."""

    def opened() -> CheckpointFolder:
        return CheckpointFolder(folder, job.store.scratch, maker(job))

    keeper = StepKeeper(opened, pace, job.emit, after_step)
    try:
        yield keeper
    finally:
        keeper.close()


def maker(job: Job) -> dict[str, Json]:
    """What a training's bits depend on besides its key: the program as generated, the framework, the device."""
    about = {name: value for name, value in job.backend().describe().items() if name not in OTHERWISE}
    settings = {name: value for name, value in asdict(job.settings).items() if name not in OTHERWISE}
    program = hashlib.sha256((job.folder / "step.py").read_bytes()).hexdigest()
    return {"etude": __version__, "program": program, **settings, **about}
