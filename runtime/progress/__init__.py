"""What people see while a recipe runs: a live tree on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import TextIO

from etude.compiler.workflow import Workflow
from etude.runtime.events import Event, Listener
from etude.runtime.progress.plain import QUIET, PlainProgress
from etude.runtime.progress.state import ReadValue


def show_progress(
    workflow: Workflow, read: ReadValue, *, live: bool, stream: TextIO | None = None
) -> AbstractContextManager[Listener]:
    """A listener for a run's events that shows them, live or as lines. `read` gives the JSON value of a hash."""
    plain = PlainProgress(workflow, read, stream or sys.stderr)
    return LiveWhenNeeded(workflow, read, plain) if live else plain


class LiveWhenNeeded:
    """Becomes the live tree when a stage takes time. A run that finds everything needs no tree, and imports none."""

    def __init__(self, workflow: Workflow, read: ReadValue, plain: PlainProgress) -> None:
        self.workflow, self.read, self.plain = workflow, read, plain
        self._early: list[Event] = []
        self._live: AbstractContextManager[Listener] | None = None
        self._listener: Listener = self._early.append

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)
            return
        with self.plain as lines:
            for event in self._early:
                lines(event)

    def __call__(self, event: Event) -> None:
        self._listener(event)
        if self._live is None and event.kind == "stage-started" and event.stage is not None:
            stage = self.workflow.stages.get(event.stage)
            if stage is not None and stage.kind not in QUIET:
                self._start()

    def _start(self) -> None:
        from etude.runtime.progress.live import LiveProgress

        self._live = LiveProgress(self.workflow, self.read)
        self._listener = self._live.__enter__()
        for event in self._early:
            self._listener(event)
