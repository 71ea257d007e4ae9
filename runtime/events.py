"""What happens during a run: one event each, kept as JSON lines in the run's folder and shown live."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from etude.runtime.store.files import write

Json = Any
Kind: TypeAlias = Literal[
    "run-started",  # data: run, stages (how many), folder
    "stage-cached",  # data: outputs, key, names (what the recipe calls parts of values, where it gives names)
    "stage-waiting",  # another run computes the same key
    "stage-started",
    "stage-progress",  # data: step, steps, epoch, loss, terms, history (new rows), rows_per_second
    "stage-warning",  # data: message
    "stage-continued",  # data: step (from which it goes on), steps
    "stage-kept",  # data: step (of which a checkpoint was written), bytes, cost (seconds)
    "stage-stopped",  # data: step, steps, kept (the step from which it will go on)
    "stage-finished",  # data: seconds, outputs, made, key, names
    "stage-failed",  # data: message, hint, seconds, details (a file), checkpoint (a file or none)
    "stage-skipped",  # data: because (a sentence: what failed, or the condition that does not hold)
    "run-finished",  # data: executed, cached, failed, skipped, seconds
    "run-stopping",  # data: running (the names of the stages that end at their next step)
    "run-interrupted",
]

# What a worker says of a stage while it runs, and the event that it becomes.
TOLD: Mapping[str, Kind] = {
    "progress": "stage-progress",
    "warning": "stage-warning",
    "continued": "stage-continued",
    "kept": "stage-kept",
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `stage` and `name` are the id and the name of the stage that it concerns."""

    kind: Kind
    time: float
    stage: str | None = None
    name: str | None = None
    data: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        place = {"stage": self.stage, "name": self.name} if self.stage else {}
        return {"kind": self.kind, "time": round(self.time, 3), **place, **self.data}


Listener: TypeAlias = Callable[[Event], None]


class EventLog:
    """Writes events to a file as they come and passes them on."""

    def __init__(self, path: Path, listener: Listener | None = None) -> None:
        self.path, self._file = path, path.open("ab", buffering=0)
        self._listener = listener

    def add(self, kind: Kind, stage: str | None = None, name: str | None = None, **data: Json) -> None:
        """Note an event now. Raises `StoreError` when the disk is full."""
        event = Event(kind, time.time(), stage, name, data)
        write(self._file, (json.dumps(event.to_json(), ensure_ascii=False) + "\n").encode(), self.path)
        if self._listener is not None:
            self._listener(event)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_events(path: Path) -> list[dict[str, Json]]:
    """The events of a run's file; a line that a kill, or a full disk, cut short is left out."""
    found = []
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found
