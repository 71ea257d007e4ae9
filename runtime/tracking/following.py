"""A run's events as trackers want them, on a thread of its own: a slow tracker does not slow down a run."""

from __future__ import annotations

import json
import math
import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etude.compiler.workflow import Workflow
from etude.runtime.events import Event
from etude.runtime.naming import shown_output
from etude.runtime.runs import file_names
from etude.runtime.stages import INLINE
from etude.runtime.store import Store
from etude.runtime.tracking import Subject, Tracker, tracker_module

Json = Any
LIVE_SECONDS = 2.0  # between numbers that are not in a history
CLOSE_SECONDS = 120.0  # what a tracker may take to bring its last numbers home
UNMARKED = {"step"}


class Following:
    """Listens to the events of a run and tells them to trackers.

    It wakes up with the first stage that is executed, so that a run which finds everything imports nothing; with
    `eager` at once. A tracker that fails is left alone from then on, and `warnings` says so.
    """

    def __init__(
        self,
        workflow: Workflow,
        store: Store,
        text: str,
        trackers: Mapping[str, Mapping[str, str]],
        facts: Mapping[str, Json],
        *,
        eager: bool = False,
    ) -> None:
        self.workflow, self.store, self.text = workflow, store, text
        self.trackers, self.facts, self.eager = trackers, facts, eager
        self.warnings: list[str] = []
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until everything is told."""
        if self._thread is None:
            return
        self._events.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self.warnings.append(f"{', '.join(self.trackers)}: still not done after {CLOSE_SECONDS:.0f} s, left alone")

    def __call__(self, event: Event) -> None:
        if not self.trackers:
            return
        self._events.put(event)
        if self._thread is None and (self.eager or self._is_work(event)):
            self._thread = threading.Thread(target=self._follow_safely, name="tracking", daemon=True)
            self._thread.start()

    def _is_work(self, event: Event) -> bool:
        return event.kind == "stage-started" and self.workflow.stages[event.stage or ""].kind not in INLINE

    def _follow_safely(self) -> None:
        try:
            self._follow()
        except Exception as error:  # the store has lost what was to be told, for one
            self.warnings.append(f"{', '.join(self.trackers)}: {reason(error)}")

    def _follow(self) -> None:
        first = self._events.get()
        assert first is not None
        relay = Relay(self.workflow, self.store, self.subject(first), self.trackers, self.warnings)
        while (event := self._events.get()) is not None:
            relay.handle(event)
        relay.close()

    def subject(self, started: Event) -> Subject:
        """The run, from its first event."""
        return Subject(
            id=started.data["run"],
            recipe=Path(self.workflow.recipe).stem,
            text=self.text,
            folder=Path(started.data["folder"]),
            params=self.workflow.params,
            facts=self.facts,
            stages=file_names(stage.name for stage in self.workflow.stages.values()),
        )


class Relay:
    """Tells trackers what an event means."""

    def __init__(
        self,
        workflow: Workflow,
        store: Store,
        subject: Subject,
        trackers: Mapping[str, Mapping[str, str]],
        warnings: list[str],
    ) -> None:
        self.workflow, self.store, self.subject, self.warnings = workflow, store, subject, warnings
        self._open: dict[str, Tracker] = {}
        self._told: dict[str, int] = {}  # rows of each history
        self._live: dict[str, float] = {}  # when each stage last had a live number
        for name, settings in trackers.items():
            try:
                self._open[name] = tracker_module(name).open_tracker(subject, settings)
            except Exception as error:
                self._warn(name, error)

    def handle(self, event: Event) -> None:
        """Pass on what an event has for those who follow."""
        if event.stage is None or event.name is None:
            return
        kind = self.workflow.stages[event.stage].kind
        if event.kind == "stage-started":
            self._told[event.name] = 0  # another attempt begins its history anew
        elif event.kind == "stage-progress" and kind == "train":
            self._rows(event, event.name, event.data.get("history", ()))
            self._progress(event, event.name)
        elif event.kind in ("stage-finished", "stage-cached"):
            outputs = event.data["outputs"]
            if "history" in outputs:
                history = shown_output("history", self.store.read_json(outputs["history"]), event.data.get("names"))
                self._rows(event, event.name, history[self._told.get(event.name, 0) :])
            elif kind == "images":
                self._picture(event, event.name, outputs["figure"])

    def close(self) -> None:
        """Say how the run ended."""
        path = self.subject.folder / "run.json"
        outcome = json.loads(path.read_bytes()) if path.exists() else None
        self._tell("close", outcome)

    def _rows(self, event: Event, stage: str, rows: list[Mapping[str, Json]]) -> None:
        self._told[stage] = self._told.get(stage, 0) + len(rows)
        for row in rows:
            values = {name: value for name, value in row.items() if name not in UNMARKED}
            self._tell("numbers", stage, row["step"], finite_numbers(values), event.time)

    def _progress(self, event: Event, stage: str) -> None:
        if event.time - self._live.get(stage, -math.inf) < LIVE_SECONDS:
            return
        self._live[stage] = event.time
        terms = {f"live.{name}": v for name, v in event.data["terms"].items() if not name.startswith("valid.")}
        values = {**terms, "speed.rows_per_second": event.data["rows_per_second"]}
        self._tell("numbers", stage, event.data["step"], finite_numbers(values), event.time)

    def _picture(self, event: Event, stage: str, hash: str) -> None:
        figure = self.store.read_json(hash)
        if figure["picture"] is not None:
            png = self.store.objects.read(figure["picture"])
            self._tell("picture", stage, figure["column"], png, event.time)

    def _tell(self, method: str, *arguments: Any) -> None:
        for name, tracker in list(self._open.items()):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:
                del self._open[name]
                self._warn(name, error)

    def _warn(self, name: str, error: Exception) -> None:
        self.warnings.append(f"{name}: {reason(error)}")


def reason(error: Exception) -> str:
    """An error in a line or two.

    >>> reason(OSError("the disk is full")), reason(KeyError())
    ('OSError: the disk is full', 'KeyError: no reason given')
    """
    return f"{type(error).__name__}: {str(error).strip() or 'no reason given'}"


def finite_numbers(values: Mapping[str, Json]) -> dict[str, float]:
    """The values that are numbers, and finite.

    >>> finite_numbers({"a": 1, "b": None, "c": float("nan")})
    {'a': 1.0}
    """
    numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
