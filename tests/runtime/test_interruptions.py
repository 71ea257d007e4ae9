"""Being asked to end: once, twice, and what is said of it."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from etude.compiler.workflow import Stage
from etude.runtime.executors import Message
from etude.runtime.setbacks import Interruption, RunInterrupted
from etude.runtime.stages import Job, Settings, StageStopped
from etude.runtime.store import Store


def stage(number: int) -> Stage:
    return Stage(f"s{number}", f"net{number}", "train", {}, (), {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    before, interruption = signal.getsignal(number), Interruption()

    with interruption.watching():
        signal.raise_signal(number)
        assert interruption.is_asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)

    assert signal.getsignal(number) == before


def test_what_is_said_names_the_trainings_and_what_is_lost_of_them() -> None:
    interruption = Interruption()
    assert str(interruption.told()) == "interrupted; the state is kept: the same command goes on from there"

    interruption.note(stage(1), Message(1, "kept", {"step": 7}))
    interruption.note(stage(2), Message(2, "continued", {"step": 4}))
    interruption.note(stage(3), Message(3, "progress", {"step": 4}))
    assert interruption.stopped(stage(1), {"step": 7, "steps": 9}) == {"step": 7, "steps": 9, "kept": 7}
    assert interruption.stopped(stage(2), {"step": 5, "steps": 9})["kept"] == 4
    assert interruption.stopped(stage(3), {}) == {"step": None, "steps": None, "kept": 0}

    told = interruption.told()

    assert interruption.is_asked and isinstance(told, RunInterrupted)
    where = "net1 at step 7 of 9, net2 at step 5 of 9 (kept up to step 4)"
    assert str(told) == f"interrupted, {where}; the state is kept: the same command goes on from there"
    for number in (4, 5):
        interruption.stopped(stage(number), {"step": 1, "steps": 9})
    assert "net4 at step 1 of 9 (kept up to step 0), 1 more; the state" in str(interruption.told())


def test_rows_are_gone_over_until_a_stop_is_asked_for(tmp_path: Path) -> None:
    seen: list[int] = []
    job = Job(
        store=Store(tmp_path),
        kind="map",
        spec={},
        inputs=[],
        settings=Settings(backend="torch"),
        base=tmp_path,
        folder=tmp_path,
    )
    assert list(job.until_stopped(iter(range(3)))) == [0, 1, 2]

    with pytest.raises(StageStopped):
        for item in replace(job, stop=lambda: len(seen) == 2).until_stopped(iter(range(9))):
            seen.append(item)

    assert seen == [0, 1]
