"""What trackers are told of a run, and that a run does not depend on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from etude.compiler.workflow import Stage, Workflow
from etude.runtime import tracking
from etude.runtime.events import Event
from etude.runtime.store import Store
from etude.runtime.tracking.following import Following

Told = list[tuple[Any, ...]]


class Listening:
    """A tracker that notes what it is told; `broken` is a method that fails."""

    def __init__(self, told: Told, broken: str = "") -> None:
        self.told, self.broken = told, broken

    def numbers(self, stage: str, step: int, values: Mapping[str, float], time: float) -> None:
        self._note("numbers", stage, step, dict(values))

    def picture(self, stage: str, name: str, png: bytes, time: float) -> None:
        self._note("picture", stage, name, png[:4])

    def close(self, outcome: Mapping[str, Any] | None) -> None:
        self._note("close", outcome)

    def _note(self, method: str, *arguments: Any) -> None:
        if method == self.broken:
            raise OSError("the network is down")
        self.told.append((method, *arguments))


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Told]]:
    """Installs a tracker of a name; the result is what it will be told."""

    def install(name: str, broken: str = "") -> Told:
        told: Told = []
        module = ModuleType(f"{tracking.__name__}.{name}")
        module.__dict__.update(open_tracker=lambda subject, settings: Listening(told, broken))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return told

    yield install


@pytest.fixture
def workflow() -> Workflow:
    workflow = Workflow("recipes/two.etude")
    for id, kind in (("d", "load"), ("t", "train"), ("p", "images"), ("c", "compute")):
        workflow.stages[id] = Stage(id, f"the {kind}", kind, {}, (), {})
    return workflow


def follow(workflow: Workflow, store: Store, folder: Path, *names: str, eager: bool = False) -> Following:
    following = Following(workflow, store, "text", {name: {} for name in names}, {}, eager=eager)
    following(Event("run-started", 0.0, data={"run": "r", "folder": str(folder), "stages": 4}))
    return following


def at(time: float, kind: Any, stage: str, **data: Any) -> Event:
    names = {"d": "the load", "t": "the train", "p": "the images", "c": "the compute"}
    return Event(kind, time, stage, names[stage], data)


def progress(time: float, step: int, *rows: Mapping[str, Any]) -> Event:
    terms = {"loss": 0.5, "valid.loss": 0.1}
    return at(time, "stage-progress", "t", step=step, terms=terms, history=list(rows), rows_per_second=10.0)


ROWS = [{"step": 5, "epoch": 1.0, "loss": 1.0}, {"step": 10, "epoch": 2.0, "loss": 0.5, "valid.loss": None}]


def test_the_rows_of_a_history_are_told_as_they_come_and_the_rest_at_the_end(
    workflow: Workflow, store: Store, tmp_path: Path, tracker: Callable[..., Told]
) -> None:
    told = tracker("listening")
    with follow(workflow, store, tmp_path, "listening") as following:
        following(at(1, "stage-started", "t"))
        following(progress(1.0, 5, ROWS[0]))
        following(at(2, "stage-finished", "t", outputs={"history": store.objects.put_json(ROWS)}))
    assert told == [
        ("numbers", "the train", 5, {"epoch": 1.0, "loss": 1.0}),
        ("numbers", "the train", 5, {"live.loss": 0.5, "speed.rows_per_second": 10.0}),
        ("numbers", "the train", 10, {"epoch": 2.0, "loss": 0.5}),
        ("close", None),
    ]


def test_live_numbers_are_told_now_and_then(
    workflow: Workflow, store: Store, tmp_path: Path, tracker: Callable[..., Told]
) -> None:
    told = tracker("listening")
    with follow(workflow, store, tmp_path, "listening") as following:
        following(at(10, "stage-started", "t"))
        for time in (10.0, 10.5, 11.0, 12.5):
            following(progress(time, int(time * 2)))
    assert [step for method, *rest in told if method == "numbers" for step in rest[1:2]] == [20, 25]


def test_what_was_found_is_told_as_well_once_something_runs(
    workflow: Workflow, store: Store, tmp_path: Path, tracker: Callable[..., Told]
) -> None:
    told = tracker("listening")
    from etude.runtime.grids import grid_png

    picture = store.objects.put(grid_png(np.zeros((1, 4, 4), np.float32)))
    figure = store.objects.put_json({"column": "image", "count": 1, "picture": picture})
    (tmp_path / "run.json").write_text('{"metrics": {}}')
    with follow(workflow, store, tmp_path, "listening") as following:
        following(at(1, "stage-cached", "p", outputs={"figure": figure}))
        assert told == []
        following(at(2, "stage-started", "d"))
    assert told == [("picture", "the images", "image", b"\x89PNG"), ("close", {"metrics": {}})]


def test_a_run_that_finds_everything_wakes_nobody(
    workflow: Workflow, store: Store, tmp_path: Path, tracker: Callable[..., Told]
) -> None:
    told = tracker("listening")
    with follow(workflow, store, tmp_path, "listening") as following:
        following(at(1, "stage-cached", "d", outputs={"data": "x"}))
        following(at(1, "stage-started", "c"))
    assert told == []


def test_a_tracker_that_was_asked_for_is_told_of_every_run(
    workflow: Workflow, store: Store, tmp_path: Path, tracker: Callable[..., Told]
) -> None:
    told = tracker("listening")
    with follow(workflow, store, tmp_path, "listening", eager=True):
        pass
    assert told == [("close", None)]


@pytest.mark.parametrize("broken", ["numbers", "close"])
def test_a_tracker_that_fails_is_named_and_the_others_go_on(
    workflow: Workflow, store: Store, tmp_path: Path, tracker: Callable[..., Told], broken: str
) -> None:
    tracker("breaking", broken)
    told = tracker("listening")
    with follow(workflow, store, tmp_path, "breaking", "listening") as following:
        following(at(1, "stage-started", "t"))
        following(progress(1.0, 5, *ROWS))
        following(progress(9.0, 6))
    assert following.warnings == ["breaking: OSError: the network is down"]
    assert len(told) == 5


def test_a_history_that_the_store_has_lost_ends_the_following_and_not_the_run(
    workflow: Workflow, store: Store, tmp_path: Path, tracker: Callable[..., Told]
) -> None:
    tracker("listening")
    with follow(workflow, store, tmp_path, "listening") as following:
        following(at(1, "stage-started", "t"))
        following(at(2, "stage-finished", "t", outputs={"history": "0" * 64}))
    (warning,) = following.warnings
    assert warning.startswith("listening: ")


def test_a_tracker_that_does_not_open_is_named(workflow: Workflow, store: Store, tmp_path: Path) -> None:
    with follow(workflow, store, tmp_path, "there_is_none", eager=True) as following:
        pass
    (warning,) = following.warnings
    assert warning.startswith("there_is_none: ModuleNotFoundError")
