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

Json = Any
TRANSIENT = {"WorkerEnded", "OutOfMemory", "ConnectionError", "TimeoutError"}
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


@dataclass
class Interruption:
    """Ctrl-C, or the request to end: the first asks, the second is a `KeyboardInterrupt`."""

    is_asked: bool = False

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
