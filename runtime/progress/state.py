"""How far a run is: the status of every stage, by its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal, TypeAlias

from etude.compiler.draw.repeats import repeat_classes
from etude.compiler.workflow import Stage, Workflow
from etude.runtime.events import Event
from etude.runtime.histories import columns_of
from etude.runtime.naming import shown_output
from etude.runtime.progress.durations import clock_text, rate_text, speed_text
from etude.runtime.progress.sparklines import sparkline
from etude.runtime.store import StoreError

Json = Any
ReadValue: TypeAlias = Callable[[str], Json]
Status: TypeAlias = Literal["waiting", "running", "cached", "done", "failed", "skipped"]
FINISHED: Mapping[str, Status] = {
    "stage-finished": "done",
    "stage-cached": "cached",
    "stage-failed": "failed",
    "stage-skipped": "skipped",
}
CURVE = 12  # characters
MOST_TERMS = 6  # that a line has room for
SHOWN = ("loss", "valid.loss", "valid.score", "valid.accuracy")


@dataclass
class StageState:
    """One stage. `progress` is the last report of a training.

    `begun` is the step that it went on from; `losses` are the last ones of the parts, `CURVE` in all, that it has
    reached. `tell` gives `result`: what was found in the store is read only where it is shown.
    """

    stage: Stage
    status: Status = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    progress: Mapping[str, Json] = field(default_factory=dict)
    begun: int = 0
    losses: dict[int, float] = field(default_factory=dict)
    tell: Callable[[], str] = str

    @cached_property
    def result(self) -> str:
        """A few words on what came out, once the stage is at its end."""
        return self.tell()

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1; None where it does not say."""
        steps = self.progress.get("steps")
        return self.progress.get("step", 0) / steps if steps else None

    @property
    def curve(self) -> str:
        """The losses so far as a curve, which is whole when the training is."""
        reached = max(self.losses, default=-1) + 1
        return sparkline([self.losses.get(part) for part in range(reached)])

    def note_loss(self) -> None:
        """Take the loss of the last report into the curve."""
        loss, share = self.progress.get("loss"), self.share
        if loss is not None and share is not None:
            self.losses[min(int(share * CURVE), CURVE - 1)] = loss

    def seconds_left(self, now: float) -> float | None:
        """The time that it needs still, at the speed so far."""
        done = self.progress.get("step", 0) - self.begun
        return (now - self.started) * (self.progress["steps"] - self.progress["step"]) / done if done > 0 else None


@dataclass
class RunState:
    """All stages of a run. `workers` is how many have been seen to run side by side."""

    workflow: Workflow
    read: ReadValue
    stages: dict[str, StageState] = field(default_factory=dict)
    total: int = 0
    workers: int = 1
    started: float = 0.0

    def __post_init__(self) -> None:
        self.stages = {id: StageState(stage) for id, stage in self.workflow.stages.items()}
        self.total = len(self.stages)
        self._counts: dict[Status, int] = {"waiting": self.total}

    @cached_property
    def classes(self) -> Mapping[str, str]:
        """The stage that each is a repetition of."""
        return repeat_classes(self.workflow)

    def handle(self, event: Event) -> StageState | None:
        """Take note of an event; the stage that it concerns."""
        if event.kind == "run-started":
            self.started, self.total = event.time, event.data["stages"]
        if event.stage is None or event.stage not in self.stages:
            return None
        state = self.stages[event.stage]
        if event.kind == "stage-started":
            state.started, state.begun = event.time, 0
            self._move(state, "running")
            self.workers = max(self.workers, self.count("running"))
        elif event.kind == "stage-continued":
            state.begun = event.data["step"]
        elif event.kind == "stage-progress":
            state.progress = event.data
            state.note_loss()
        elif event.kind in FINISHED:
            self._move(state, FINISHED[event.kind])
            state.seconds = event.data.get("seconds", 0.0)
            if event.kind == "stage-cached":
                state.__dict__.pop("result", None)
                state.tell = partial(self._known, state.stage, event)
            else:
                state.result = self._result(state.stage, event)
        return state

    def count(self, *statuses: Status) -> int:
        """How many stages have one of these statuses."""
        return sum(self._counts.get(status, 0) for status in statuses)

    def _move(self, state: StageState, status: Status) -> None:
        """Give a stage another status, and keep count: a run may have ten thousand stages."""
        self._counts[state.status] -= 1
        self._counts[status] = self._counts.get(status, 0) + 1
        state.status = status

    @property
    def finished(self) -> int:
        """How many stages have come to an end, whatever end."""
        return len(self.stages) - self.count("waiting", "running")

    def running(self) -> list[StageState]:
        return [state for state in self.stages.values() if state.status == "running"]

    def seconds_left(self, now: float) -> float | None:
        """A guess from the members of each sweep that are done; None until one of each kind of training is."""
        known: dict[str, list[float]] = {}
        for id, state in self.stages.items():
            if state.status == "done":
                known.setdefault(self.classes[id], []).append(state.seconds)
        left = 0.0
        for id, state in self.stages.items():
            if state.status not in ("waiting", "running"):
                continue
            own, times = state.seconds_left(now), known.get(self.classes[id])
            if own is None and times is None and state.stage.kind in ("train", "map"):
                return None
            usual = sum(times) / len(times) if times else 0.0
            left += own if own is not None else usual
        return left / self.workers

    def _known(self, stage: Stage, event: Event) -> str:
        """The same of what was found, which may be lost by now: who needs it has it made anew."""
        try:
            return self._result(stage, event)
        except StoreError:
            return ""

    def _result(self, stage: Stage, event: Event) -> str:
        """What came out, in a few words, for the kinds of stages where a few words say it."""
        if event.kind == "stage-failed":
            return str(event.data["message"]).splitlines()[0]
        if event.kind == "stage-skipped":
            return str(event.data["because"])
        if "outputs" not in event.data:  # a comparison of backends keeps nothing
            return ""
        outputs, names = event.data["outputs"], event.data.get("names")
        match stage.kind:
            case "train":
                history = shown_output("history", self.read(outputs["history"]), names)
                return metrics_text(history[-1]) if history else ""
            case "measure" | "compute":
                return (
                    value_text(shown_output("value", self.read(outputs["value"]), names))
                    if "value" in outputs
                    else "trees"
                )
            case "map":
                return speed_text(event.data.get("made", {}))
            case "claim":
                return str(self.read(outputs["verdict"])["verdict"])
        return ""


def progress_texts(state: StageState, now: float) -> list[str]:
    """How a training is getting on: time left, speed, epoch, each term; a narrow terminal cuts the last ones."""
    progress, left = state.progress, state.seconds_left(now)
    terms = progress.get("terms") or {"loss": progress.get("loss")}
    names = dict.fromkeys([*SHOWN, *columns_of([terms])])
    shown = [f"{name} {terms[name]:.4g}" for name in names if isinstance(terms.get(name), int | float)]
    speed = rate_text(progress["rows_per_second"])
    remaining = [] if left is None else [f"{clock_text(left)} left"]
    return [*remaining, speed, f"epoch {progress['epoch']:.1f}", *shown[:MOST_TERMS]]


def metrics_text(row: Mapping[str, Json]) -> str:
    """The figures of a row of a history that people look for.

    >>> metrics_text({"epoch": 5, "loss": 0.25, "valid.accuracy": 0.9})
    'loss 0.25, valid.accuracy 0.9'
    """
    return ", ".join(f"{name} {row[name]:.4g}" for name in shown_columns(row) if isinstance(row.get(name), int | float))


def shown_columns(row: Mapping[str, Json]) -> list[str]:
    """The columns of a history that people look for; of players that take turns, the loss of each.

    >>> shown_columns({"epoch": 5, "generator.loss": 0.25, "critic.loss": 0.5, "critic.penalty": 0.1})
    ['generator.loss', 'critic.loss']
    """
    players = [name for name in columns_of([row]) if name.endswith(".loss") and not name.startswith("valid.")]
    return [*([] if "loss" in row else players[:MOST_TERMS]), *(name for name in SHOWN if name in row)]


def value_text(value: Json) -> str:
    """A measured number, or the first ones of a record."""
    if isinstance(value, bool) or value is None:
        return "no value" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        parts = [f"{name} {value_text(item)}" for name, item in value.items() if isinstance(item, int | float)]
        return ", ".join(parts[:3])
    return ""
