from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etude.runtime.store import Store
from etude.runtime.store.garbage import Garbage, find_garbage, remove_garbage
from etude.runtime.store.holders import this_process
from etude.runtime.store.inspection import verify_store

MakeRun = Callable[..., str]


def words(store: Store) -> set[str]:
    """The words whose results are there."""
    return {bytes.fromhex(key).strip(b"\0").decode() for key in store.records.all_keys()}


def collected(store: Store, **settings: Any) -> Garbage:
    garbage = find_garbage(store, **{"last": 0, "days": 7, **settings})
    remove_garbage(store, garbage)
    assert verify_store(store).is_sound
    return garbage


def test_what_no_kept_run_needs_is_removed_and_what_they_share_stays(store: Store, make_run: MakeRun) -> None:
    make_run("20260101-a", "shared", "old", days=40)
    make_run("20260201-b", "shared", "new", days=20)
    garbage = collected(store, last=1)
    assert list(garbage.runs) == ["20260101-a"] and garbage.kept == {"20260201-b": "one of the last"}
    assert words(store) == {"shared", "new"}
    assert {store.objects.read(hash) for hash in store.objects} == {b"content of shared", b"content of new"}
    assert [path.name for path in store.runs.iterdir()] == ["20260201-b"]


def test_what_is_new_is_left_alone_and_counted(store: Store, make_run: MakeRun) -> None:
    make_run("20260101-a", "old", "new", days=40)
    key = next(key for key in store.records.all_keys() if bytes.fromhex(key).strip(b"\0") == b"new")
    record = store.records.read(key)
    assert record is not None
    (hash,) = record.objects
    for path in (store.records.locate(key), store.objects.locate(hash)):
        os.utime(path)
    garbage = collected(store)
    assert garbage.young == {hash: len("content of new")} and len(garbage.objects) == 1
    assert words(store) == {"new"} and garbage.to_json()["young"]["count"] == 1


def test_looking_removes_nothing(store: Store, make_run: MakeRun) -> None:
    make_run("20260101-a", "old", days=40)
    garbage = find_garbage(store, last=0, days=7)
    assert garbage.to_json()["removed"]["objects"] == {"count": 1, "bytes": len("content of old")}
    assert words(store) == {"old"} and len(list(store.runs.iterdir())) == 1


def test_pinned_running_and_young_runs_are_kept(store: Store, make_run: MakeRun) -> None:
    make_run("20260101-a", "pinned", days=40)
    make_run("20260101-b", "running", days=40, finished=False)
    make_run("20260101-c", "young", days=3)
    make_run("20260101-d", "rest", days=40)
    (store.runs / "20260101-b" / "running.json").write_text(json.dumps(this_process()))
    store.pins.add("20260101-a", "for the paper")
    os.utime(store.runs / "20260101-c", (time.time() - 3 * 24 * 3600,) * 2)
    garbage = collected(store)
    assert garbage.kept == {"20260101-a": "pinned", "20260101-b": "running", "20260101-c": "young"}
    assert words(store) == {"pinned", "running", "young"}


def test_a_run_of_another_machine_that_has_been_silent_for_long_is_not_at_work(store: Store, make_run: MakeRun) -> None:
    for id, seconds in (("20260101-a", 1.0), ("20260101-b", time.time() - 3600)):
        make_run(id, id, days=40, finished=False)
        (store.runs / id / "running.json").write_text(json.dumps({**this_process(), "machine": "far away"}))
        os.utime(store.runs / id / "events.jsonl", (seconds, seconds))
        os.utime(store.runs / id, (1, 1))
    assert find_garbage(store, last=0, days=7).kept == {"20260101-b": "running"}


def test_the_results_of_an_interrupted_run_are_found_in_its_events(store: Store, make_run: MakeRun) -> None:
    make_run("20260101-a", "done", days=40, finished=False)
    collected(store, last=1)
    assert words(store) == {"done"}


def test_what_was_written_a_moment_ago_is_left_alone(store: Store, make_run: MakeRun) -> None:
    """Its run may not have said yet that it needs it."""
    hash = store.objects.put(b"of a run at work")
    (store.scratch / "half").write_bytes(b"half")
    garbage = collected(store)
    assert garbage.bytes == 0 and store.objects.read(hash) == b"of a run at work"


def test_an_old_object_that_is_written_again_counts_as_new(store: Store) -> None:
    hash = store.objects.put(b"old")
    os.utime(store.objects.locate(hash), (1, 1))
    store.objects.put(b"old")
    assert collected(store).objects == {}


def test_a_model_of_a_kept_run_stays_and_damaged_records_and_leftovers_go(store: Store, make_run: MakeRun) -> None:
    make_run("20260101-a", "stage", days=40, model=b"weights")
    path = store.records.folder / "ff" / ("f" * 62 + ".json")
    path.parent.mkdir()
    path.write_text("{")
    (store.scratch / "damaged-1").write_bytes(b"damaged")
    for leftover in (path, store.scratch / "damaged-1"):
        os.utime(leftover, (1, 1))
    garbage = collected(store, last=1)
    assert list(garbage.records) == [path] and [p.name for p in garbage.scratch] == ["damaged-1"]
    assert sorted(store.objects.read(hash) for hash in store.objects) == [b"content of stage", b"weights"]


def test_unfinished_trainings_stay_while_a_kept_run_may_go_on_with_them(store: Store, make_run: MakeRun) -> None:
    make_run("20260101-a", "done", days=40)
    make_run("20260101-b", days=40, finished=False)
    plan = {"stages": [{"key": "b" * 64, "action": "run"}]}
    (store.runs / "20260101-b" / "plan.json").write_text(json.dumps(plan))
    done = next(iter(store.records.all_keys()))
    for key in ("b" * 64, "c" * 64, done):
        (store.root / "partial" / key).mkdir(parents=True)
        (store.root / "partial" / key / "8.json").write_text("state")
        os.utime(store.root / "partial" / key, (1, 1))
    collected(store, last=2)
    assert [path.name for path in (store.root / "partial").iterdir()] == ["b" * 64]


KILLED = """
import os, sys
from etude.runtime.store import Store, injection
from etude.runtime.store.garbage import find_garbage, remove_garbage
store = Store(sys.argv[1])
left = int(sys.argv[2])
def before(operation, path):
    global left
    left -= 1
    if left == 0:
        os._exit(9)
injection.before = before
remove_garbage(store, find_garbage(store, last=0, days=7))
"""


def test_a_collection_that_is_killed_leaves_a_sound_store(store: Store, make_run: MakeRun, tmp_path: Path) -> None:
    make_run("20260101-a", "one", "two", days=40)
    for number in range(1, 40):
        ended = subprocess.run([sys.executable, "-c", KILLED, str(store.root), str(min(number, 3))]).returncode
        assert verify_store(store).is_sound
        if ended == 0:
            break
        assert ended == 9
    assert words(store) == set() and list(store.objects) == []


def test_pins_keep_their_notes_and_are_taken_out(store: Store) -> None:
    store.pins.add("run-1", "why")
    store.pins.add("run-2")
    (store.root / "pins" / "run-3.json").write_text("{")
    assert store.pins.all() == {"run-1": "why", "run-2": None, "run-3": None}
    assert store.pins.remove("run-1") and not store.pins.remove("run-1")
    assert "run-1" not in store.pins.all()
