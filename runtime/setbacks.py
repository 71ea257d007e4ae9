"""What a run does about what goes wrong by no fault of the recipe: objects that are lost, workers that die, Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from etude.compiler.workflow import Stage
from etude.runtime.executors import Message

Json = Any
TRANSIENT = {"WorkerEnded", "OutOfMemory", "DeviceFailed", "ConnectionError", "TimeoutError"}
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Losses:
    """Objects that were found damaged or missing. Each may be made anew once; a second loss is a broken disk."""

    found: dict[str, int] = field(default_factory=dict)
    round: int = 0

    def add(self, hash: str) -> bool:
        """Note a loss; False when the object has been made anew in an earlier round."""
        return self.found.setdefault(hash, self.round) == self.round


@dataclass
class Retries:
    """How often each stage was tried again, of `most` times. Only what another attempt may mend is."""

    most: int = 0
    used: Counter[str] = field(default_factory=Counter)
    alone: set[str] = field(default_factory=set)

    def another(self, stage: Stage, report: Mapping[str, Json]) -> bool:
        """Whether to try a stage again that failed so. One that had too little memory is then run alone."""
        if report.get("error") not in TRANSIENT or self.used[stage.id] >= self.most:
            return False
        self.used[stage.id] += 1
        if report["error"] in {"OutOfMemory", "WorkerEnded"}:
            self.alone.add(stage.id)
        return True


class RunInterrupted(KeyboardInterrupt):
    """A run was asked to end and did; the message says how far it is and how to go on."""


@dataclass
class Interruption:
    """Ctrl-C, or the request to end: the first asks, the second is a `KeyboardInterrupt`.

    `kept` has the step of the last checkpoint of each stage, by id.
    """

    is_asked: bool = False
    kept: dict[str, int] = field(default_factory=dict)
    _stopped: list[str] = field(default_factory=list)

    def note(self, stage: Stage, message: Message) -> None:
        """Remember up to where a stage is kept."""
        if message.kind in ("kept", "continued"):
            self.kept[stage.id] = message.data["step"]

    def stopped(self, stage: Stage, report: Mapping[str, Json]) -> dict[str, Json]:
        """Note a stage that ended at a step as it was asked to: how far it is, and from where it will go on."""
        self.is_asked = True  # where a signal has reached only the worker
        step, steps, kept = report.get("step"), report.get("steps"), self.kept.get(stage.id, 0)
        if steps is not None:
            lost = "" if kept == step else f" (kept up to step {kept})"
            self._stopped.append(f"{stage.name} at step {step} of {steps}{lost}")
        return {"step": step, "steps": steps, "kept": kept}

    def told(self) -> RunInterrupted:
        """What to end the run with."""
        stopped = self._stopped[:3] + [f"{len(self._stopped) - 3} more"] * (len(self._stopped) > 3)
        where = f", {', '.join(stopped)}" if stopped else ""
        return RunInterrupted(f"interrupted{where}; the state is kept: the same command goes on from there")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, signals are taken so. In another thread than the main one, nothing is changed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._take) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: object) -> None:
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True
