from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from etude.runtime.store import Leases, Store, leases

TAKE = """
import os, sys
from etude.runtime.store import Store
assert Store(sys.argv[1]).leases().take("key")
os._exit(0)
"""


def others(store: Store, **settings: float) -> Leases:
    return Leases(store.root / "leases", store.scratch, **settings)


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


def test_a_lease_without_a_heartbeat_runs_out(store: Store) -> None:
    with store.leases() as mine, others(store, stale_after=10) as theirs:
        assert mine.take("key")
        (path,) = (store.root / "leases").iterdir()
        path.write_text(json.dumps({"pid": 1, "machine": "far away"}))
        assert not theirs.take("key")
        os.utime(path, (time.time() - 11,) * 2)
        assert theirs.take("key")
        mine.release("key")
        assert not mine.take("key"), "a lease that ran out was given back over its new holder"


def test_a_held_lease_is_touched_now_and_then(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.01)
    with store.leases() as mine:
        mine.take("key")
        (path,) = (store.root / "leases").iterdir()
        os.utime(path, (1, 1))
        deadline = time.time() + 10
        while path.stat().st_mtime == 1 and time.time() < deadline:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 60


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
