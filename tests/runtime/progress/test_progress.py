"""What people see while a recipe runs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from etude.compiler.workflow import Ref, Stage, Workflow
from etude.runtime.events import Event
from etude.runtime.progress import LiveWhenNeeded
from etude.runtime.progress.durations import clock_text, duration_text
from etude.runtime.progress.live import LiveProgress
from etude.runtime.progress.plain import PlainProgress
from etude.runtime.progress.state import RunState, metrics_text, value_text
from etude.runtime.store.errors import MissingObject

START = 1000.0
TERMS = {"loss": 0.5, "valid.loss": 0.7}
VALUES: dict[str, Any] = {
    "history": [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "valid.accuracy": 0.9}],
    "metric": 0.91234,
    "verdict": {"verdict": "holds"},
}
Feed = Callable[..., None]


@pytest.fixture
def workflow() -> Workflow:
    """Data, three trainings, a measurement."""
    workflow = Workflow("recipes/sweep.etude")

    def add(id: str, name: str, kind: str, *inputs: str) -> None:
        refs = tuple(Ref(each, "0") for each in inputs)
        workflow.stages[id] = Stage(id, name, kind, {}, refs, {"0": "Data"})

    add("d", "data", "load")
    for seed in (1, 2, 3):
        add(f"t{seed}", f"nets[seed={seed}]", "train", "d")
    add("m", "score", "measure", "t1", "t2", "t3")
    return workflow


def feed(listener: Callable[[Event], object]) -> Feed:
    """A function that tells the listener of an event so many seconds after the start."""

    def tell(since: float, kind: Any, stage: str | None = None, /, **data: Any) -> None:
        names = {"d": "data", "t1": "nets[seed=1]", "t2": "nets[seed=2]", "t3": "nets[seed=3]", "m": "score"}
        listener(Event(kind, START + since, stage, names.get(stage or ""), data))

    tell(0, "run-started", stages=5, run="r", folder="f")
    return tell


def progressed(tell: Feed) -> None:
    """The data cached, one training done, one half way, one failed."""
    tell(0, "stage-cached", "d", outputs={"data": "x"})
    tell(1, "stage-started", "t1")
    tell(1, "stage-started", "t2")
    tell(5, "stage-progress", "t1", step=5, steps=10, epoch=1.0, loss=0.6, rows_per_second=1500.0)
    tell(9, "stage-finished", "t1", seconds=8.0, outputs={"0": "w", "history": "history"}, made={})
    tell(9, "stage-started", "t3")
    tell(10, "stage-progress", "t2", step=45, steps=90, epoch=1.5, loss=0.5, rows_per_second=1234.0, terms=TERMS)
    tell(11, "stage-failed", "t3", message="the loss is not finite\nmore", seconds=2.0, details="x", checkpoint=None)


def test_lines_tell_starts_ends_and_what_came_out(workflow: Workflow) -> None:
    stream = io.StringIO()
    with PlainProgress(workflow, VALUES.__getitem__, stream) as progress:
        tell = feed(progress)
        progressed(tell)
        tell(12, "stage-skipped", "m", because="needs nets[seed=3], which failed")
    assert stream.getvalue().splitlines() == [
        "cached: data",
        "[    1.0 s, 1/5] nets[seed=1]: started",
        "[    1.0 s, 1/5] nets[seed=2]: started",
        "[    9.0 s, 2/5] nets[seed=1]: done in 8.0 s, loss 0.25, valid.accuracy 0.9",
        "[    9.0 s, 2/5] nets[seed=3]: started",
        "[   11.0 s, 3/5] nets[seed=3]: FAILED: the loss is not finite",
        "[   12.0 s, 4/5] score: skipped, needs nets[seed=3], which failed",
    ]


def test_stages_found_in_the_store_share_a_line(workflow: Workflow) -> None:
    stream = io.StringIO()
    with PlainProgress(workflow, VALUES.__getitem__, stream) as progress:
        tell = feed(progress)
        for stage in ("d", "t1", "t2", "t3"):
            tell(0, "stage-cached", stage, outputs={"data": "x", "history": "history"})
        tell(0, "stage-warning", "m", message="few rows")
    assert stream.getvalue().splitlines() == [
        "cached: data, nets[seed=1], nets[seed=2] and 1 more",
        "[    0.0 s, 4/5] score: warning: few rows",
    ]


def test_a_training_that_takes_its_time_has_a_line_now_and_then(workflow: Workflow) -> None:
    stream = io.StringIO()
    with PlainProgress(workflow, VALUES.__getitem__, stream) as progress:
        tell = feed(progress)
        tell(1, "stage-started", "t1")
        for since in range(2, 70):
            told = {"epoch": 1.5, "loss": 0.5, "terms": TERMS, "rows_per_second": 1500.0}
            tell(since, "stage-progress", "t1", step=since, steps=100, **told)
    assert stream.getvalue().splitlines() == [
        "[    1.0 s, 0/5] nets[seed=1]: started",
        "[   31.0 s, 0/5] nets[seed=1]: 31%, 1:06 left, 1,500 rows/s, epoch 1.5, loss 0.5, valid.loss 0.7",
        "[   61.0 s, 0/5] nets[seed=1]: 61%, 0:38 left, 1,500 rows/s, epoch 1.5, loss 0.5, valid.loss 0.7",
    ]


def test_the_curve_of_a_training_grows_with_it(workflow: Workflow) -> None:
    state = RunState(workflow, VALUES.__getitem__)
    tell = feed(state.handle)
    tell(0, "stage-started", "t1")
    for step in range(61):
        tell(step, "stage-progress", "t1", step=step, steps=120, epoch=1.0, loss=float(60 - step))
    assert state.stages["t1"].curve == "█▇▅▄▂▁▁"


def test_the_state_knows_shares_and_the_time_left(workflow: Workflow) -> None:
    state = RunState(workflow, VALUES.__getitem__)
    progressed(feed(state.handle))
    half = state.stages["t2"]
    assert half.share == 0.5
    assert half.seconds_left(START + 10) == pytest.approx(9.0)
    assert state.stages["t1"].result == "loss 0.25, valid.accuracy 0.9"
    assert (state.count("running"), state.count("done", "cached")) == (1, 2)


def test_what_was_found_is_read_only_where_it_is_shown(workflow: Workflow) -> None:
    read: list[str] = []

    def reading(hash: str) -> Any:
        read.append(hash)
        return VALUES[hash]

    state = RunState(workflow, reading)
    tell = feed(state.handle)
    for id in ("t1", "t2"):
        tell(1, "stage-cached", id, outputs={"history": "history"})
    assert read == []
    assert state.stages["t1"].result == state.stages["t1"].result == "loss 0.25, valid.accuracy 0.9"
    assert read == ["history"]


def test_what_was_found_and_is_lost_since_is_shown_without_words(workflow: Workflow) -> None:
    def losing(hash: str) -> Any:
        raise MissingObject(hash, Path(hash))

    state = RunState(workflow, losing)
    feed(state.handle)(1, "stage-cached", "t1", outputs={"history": "history"})
    assert state.stages["t1"].result == ""


def test_what_was_done_before_a_training_went_on_says_nothing_of_its_speed(workflow: Workflow) -> None:
    state = RunState(workflow, VALUES.__getitem__)
    tell = feed(state.handle)
    tell(0, "stage-started", "t1")
    tell(0, "stage-continued", "t1", step=60, steps=100)
    tell(4, "stage-progress", "t1", step=60, steps=100, epoch=1.0, loss=0.5)
    assert state.stages["t1"].seconds_left(START + 4) is None
    tell(10, "stage-progress", "t1", step=70, steps=100, epoch=1.0, loss=0.5)
    assert state.stages["t1"].seconds_left(START + 10) == pytest.approx(30.0)


def test_the_time_left_is_unknown_until_a_training_of_its_kind_is_done(workflow: Workflow) -> None:
    state = RunState(workflow, VALUES.__getitem__)
    tell = feed(state.handle)
    tell(1, "stage-started", "t1")
    assert state.seconds_left(START + 2) is None
    tell(9, "stage-finished", "t1", seconds=8.0, outputs={"0": "w", "history": "history"}, made={})
    assert state.seconds_left(START + 9) == pytest.approx(16.0)


def rendered(workflow: Workflow, tell_all: Callable[[Feed], None], height: int = 40) -> str:
    console = Console(file=io.StringIO(), width=140, height=height, force_terminal=True, color_system=None)
    progress = LiveProgress(workflow, VALUES.__getitem__, console)
    tell_all(feed(progress))
    with console.capture() as capture:
        console.print(progress.render())
    return capture.get()


def test_the_live_tree_shows_bars_losses_and_failures(workflow: Workflow) -> None:
    lines = rendered(workflow, progressed).splitlines()
    assert lines[0].split()[0] == "sweep"
    assert "3/5" in lines[0]
    (training,) = [line for line in lines if "├─ nets" in line]
    assert "1/3  8.0 s each  the loss is not finite" in training
    (running,) = [line for line in lines if "seed=2" in line]
    assert "50%        ▁  " in running
    assert " left  1,234 rows/s  epoch 1.5  loss 0.5  valid.loss 0.7" in running
    assert "━" in running
    assert any("data" in line and "✓ cached" in line for line in lines)


def test_a_small_terminal_keeps_what_is_running(workflow: Workflow) -> None:
    for number in range(40):
        workflow.stages[f"x{number}"] = Stage(f"x{number}", f"other{number}", "compute", {}, (), {})
    text = rendered(workflow, progressed, height=12)
    assert len(text.splitlines()) <= 12
    assert "seed=2" in text
    assert "more lines" in text


def test_a_measurement_and_a_verdict_are_shown_when_done(workflow: Workflow) -> None:
    def tell_all(tell: Feed) -> None:
        tell(1, "stage-started", "m")
        tell(2, "stage-finished", "m", seconds=1.0, outputs={"value": "metric"}, made={})

    assert "1.0 s  0.9123" in rendered(workflow, tell_all)


def test_values_are_told_in_few_words() -> None:
    assert value_text({"loss": 0.5, "accuracy": 0.9, "name": "x"}) == "loss 0.5, accuracy 0.9"
    assert (value_text(None), value_text(True), value_text([1])) == ("no value", "true", "")
    assert metrics_text({"epoch": 1}) == ""


def test_durations_have_two_units() -> None:
    assert [duration_text(s) for s in (0.0004, 0.5, 59.94, 60, 3600)] == [
        "0 ms",
        "500 ms",
        "59.9 s",
        "1 min 0 s",
        "1 h 0 min",
    ]
    assert [clock_text(s) for s in (5, 65, 3661)] == ["0:05", "1:05", "1:01:01"]


def test_a_run_that_finds_everything_needs_no_tree(workflow: Workflow) -> None:
    stream = io.StringIO()
    shown = LiveWhenNeeded(workflow, VALUES.__getitem__, PlainProgress(workflow, VALUES.__getitem__, stream))
    with shown as listener:
        tell = feed(listener)
        tell(0, "stage-cached", "d", outputs={"data": "x"})
    assert stream.getvalue() == "cached: data\n"


def test_the_tree_appears_with_the_first_stage_that_takes_time(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    shown = LiveWhenNeeded(workflow, VALUES.__getitem__, PlainProgress(workflow, VALUES.__getitem__, stream))
    with shown as listener:
        progressed(feed(listener))
    assert stream.getvalue() == ""
    assert "1/3  8.0 s each" in capsys.readouterr().err


def test_where_a_training_goes_on_and_where_it_stops_is_told(workflow: Workflow) -> None:
    def tell_all(tell: Feed) -> None:
        tell(0, "stage-started", "t1")
        tell(1, "stage-continued", "t1", step=60, steps=100)
        tell(2, "stage-stopped", "t1", step=70, steps=100, kept=70)
        tell(2, "stage-stopped", "t2", step=None, steps=None, kept=0)

    stream = io.StringIO()
    tell_all(feed(PlainProgress(workflow, VALUES.__getitem__, stream)))
    names = [workflow.stages[id].name for id in ("t1", "t1", "t1", "t2")]
    words = ["started", "continues at step 60 of 100", "stopped at step 70 of 100", "stopped"]
    lines = [line.split("] ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines == [f"{name}: {said}" for name, said in zip(names, words, strict=True)]
    assert f"{names[0]} continues at step 60 of 100" in rendered(workflow, tell_all)
