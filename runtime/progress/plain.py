"""Progress as lines: one when a stage starts, one when it ends."""

from __future__ import annotations

from typing import TextIO

from etude.compiler.workflow import Workflow
from etude.runtime.events import Event
from etude.runtime.planning import listed
from etude.runtime.progress.durations import duration_text
from etude.runtime.progress.state import ReadValue, RunState, StageState, progress_texts

STOPPING = "stopping: what runs ends at its next step; Ctrl-C again stops now"
EVERY_SECONDS = 30.0  # between the lines of a training
QUIET = {"compute", "require", "claim", "table", "plot", "heatmap"}  # done in a moment, and shown with the result


class PlainProgress:
    """Prints to a stream that is no terminal. Stages that were found in the store share a line."""

    def __init__(self, workflow: Workflow, read: ReadValue, stream: TextIO) -> None:
        self.state = RunState(workflow, read)
        self.stream = stream
        self._cached: list[str] = []
        self._told: dict[str, float] = {}  # when each stage last had a line

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._tell_cached()

    def __call__(self, event: Event) -> None:
        state = self.state.handle(event)
        if event.kind == "run-stopping":
            self._tell_cached()
            self._print(event, STOPPING)
        elif event.kind == "stage-cached" and event.name:
            self._cached.append(event.name)
        elif state is not None:
            line = self._progress(state, event) if event.kind == "stage-progress" else _line(state, event)
            if line:
                self._told[state.stage.id] = event.time
                self._tell_cached()
                self._print(event, line)

    def _progress(self, state: StageState, event: Event) -> str:
        """A line now and then for a training that takes its time."""
        since = event.time - self._told.get(state.stage.id, state.started)
        if since < EVERY_SECONDS or state.share is None:
            return ""
        return f"{state.stage.name}: {state.share:.0%}, {', '.join(progress_texts(state, event.time))}"

    def _tell_cached(self) -> None:
        if self._cached:
            print(f"cached: {listed(self._cached)}", file=self.stream, flush=True)
        self._cached = []

    def _print(self, event: Event, line: str) -> None:
        since = event.time - self.state.started
        done = self.state.finished
        print(f"[{since:7.1f} s, {done}/{self.state.total}] {line}", file=self.stream, flush=True)


def _line(state: StageState, event: Event) -> str:
    name, quiet = state.stage.name, state.stage.kind in QUIET
    match event.kind:
        case "stage-started" if not quiet:
            return f"{name}: started"
        case "stage-finished" if not quiet:
            result = f", {state.result}" if state.result else ""
            return f"{name}: done in {duration_text(state.seconds)}{result}"
        case "stage-continued":
            return f"{name}: continues at step {event.data['step']} of {event.data['steps']}"
        case "stage-stopped":
            where = f" at step {event.data['step']} of {event.data['steps']}" if event.data["steps"] else ""
            return f"{name}: stopped{where}"
        case "stage-failed":
            return f"{name}: FAILED: {state.result}"
        case "stage-skipped":
            return f"{name}: skipped, {state.result}"
        case "stage-warning":
            return f"{name}: warning: {event.data['message']}"
        case "stage-waiting":
            return f"{name}: another run is computing it"
    return ""
