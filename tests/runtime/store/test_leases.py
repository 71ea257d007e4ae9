from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etude.runtime.store import Leases, Store, leases
from etude.runtime.store.holders import this_process

TAKE = """
import os, sys
from etude.runtime.store import Store
assert Store(sys.argv[1]).leases().take("key")
os._exit(0)
"""


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def others(store: Store, clock: Clock | None = None) -> Leases:
    return Leases(store.root / "leases", store.scratch, stale_after=10, clock=clock or Clock())


def far_away(path: Path) -> None:
    """Make a lease that of a process on another machine."""
    path.write_text(json.dumps({"pid": 1, "machine": "far away", "token": "theirs"}))


def test_a_lease_is_held_by_one_at_a_time(store: Store) -> None:
    with store.leases() as mine, others(store) as theirs:
        assert mine.take("key")
        assert not theirs.take("key")
        assert theirs.take("another key")
        mine.release("key")
        assert theirs.take("key")


def test_leaving_gives_all_leases_back(store: Store) -> None:
    with store.leases() as mine:
        mine.take("one")
        mine.take("two")
    assert list((store.root / "leases").iterdir()) == []


def test_the_lease_of_a_process_that_is_gone_is_taken_over_at_once(store: Store) -> None:
    subprocess.run([sys.executable, "-c", TAKE, str(store.root)], check=True)
    assert len(list((store.root / "leases").iterdir())) == 1
    with store.leases() as mine:
        assert mine.take("key")


def test_a_lease_of_another_machine_without_a_heartbeat_runs_out(store: Store) -> None:
    clock = Clock()
    with store.leases() as mine, others(store, clock) as theirs:
        assert mine.take("key")
        (path,) = (store.root / "leases").iterdir()
        far_away(path)
        assert not theirs.take("key")
        clock.now = 9
        assert not theirs.take("key")
        clock.now = 11
        assert theirs.take("key")
        mine.release("key")
        assert not mine.take("key"), "a lease that ran out was given back over its new holder"


@pytest.mark.parametrize("time_of_file", [1.0, 4e9])
def test_a_heartbeat_counts_whatever_the_clock_of_its_machine_says(store: Store, time_of_file: float) -> None:
    """Clocks that differ, or are set back, neither end a lease that is held nor keep alive one that is not."""
    clock = Clock()
    with store.leases() as mine, others(store, clock) as theirs:
        assert mine.take("key")
        (path,) = (store.root / "leases").iterdir()
        far_away(path)
        for beat in range(5):
            os.utime(path, (time_of_file - beat,) * 2)
            assert not theirs.take("key")
            clock.now += 9
        clock.now += 2
        assert theirs.take("key")


def test_a_number_that_was_given_to_another_process_does_not_keep_a_lease(store: Store) -> None:
    with store.leases() as mine, others(store) as theirs:
        assert mine.take("key")
        (path,) = (store.root / "leases").iterdir()
        path.write_text(json.dumps({**this_process(), "born": 1}))
        assert theirs.take("key")


def test_a_heartbeat_outlives_errors_of_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.01)
    with store.leases() as mine:
        mine.take("one")
        mine.take("two")
        mine._path("one").unlink()
        mine._path("one").mkdir()
        os.utime(mine._path("two"), (1, 1))
        deadline = time.monotonic() + 60
        while mine._path("two").stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert mine._path("two").stat().st_mtime > 1
        mine._path("one").rmdir()


def test_a_held_lease_is_touched_now_and_then(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.01)
    with store.leases() as mine:
        mine.take("key")
        (path,) = (store.root / "leases").iterdir()
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 60
        while path.stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1


def test_a_lease_taken_over_while_we_looked_is_handed_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes see the same stale lease; the second to act moves the first one's new lease and returns it."""
    with others(store) as first, others(store) as second:
        subprocess.run([sys.executable, "-c", TAKE, str(store.root)], check=True)
        is_gone = leases.holder_is_gone

        def first_is_quicker(holder: dict[str, object]) -> bool:
            monkeypatch.setattr(leases, "holder_is_gone", is_gone)
            assert first.take("key")
            return True

        monkeypatch.setattr(leases, "holder_is_gone", first_is_quicker)
        assert not second.take("key")
        (path,) = (store.root / "leases").iterdir()
        assert json.loads(path.read_text())["pid"] == os.getpid()
