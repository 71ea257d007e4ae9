from __future__ import annotations

import json
from pathlib import Path

import pytest

from etude.runtime.events import EventLog, read_events
from etude.runtime.runs import RunError, abandon, create_folder, file_names, find_run, finish, list_runs
from etude.runtime.store import Store


def test_a_run_is_running_then_finished_or_interrupted(store: Store) -> None:
    first = create_folder(store)
    assert find_run(store).status == "running"
    finish(store, first, {"failed": 0, "run": first.name})
    second = create_folder(store)
    abandon(second)
    third = create_folder(store)
    finish(store, third, {"failed": 2})
    assert {run.id: run.status for run in list_runs(store)} == {
        first.name: "finished",
        second.name: "interrupted",
        third.name: "failed",
    }
    manifest = find_run(store, first.name).manifest
    assert manifest is not None and manifest["run"] == first.name


def test_a_run_whose_process_is_gone_is_interrupted(store: Store) -> None:
    folder = create_folder(store)
    holder = json.loads((folder / "running.json").read_text())
    (folder / "running.json").write_text(json.dumps({**holder, "pid": 2**22 + 1}))
    assert find_run(store).status == "interrupted"


def test_a_run_is_found_by_its_beginning(store: Store) -> None:
    for name in ("20260101-aa", "20260101-ab", "20260202-aa"):
        (store.runs / name).mkdir()
    assert find_run(store).id == "20260202-aa"
    assert find_run(store, "202602").id == "20260202-aa"
    assert find_run(store, "20260101-ab").id == "20260101-ab"
    with pytest.raises(RunError) as caught:
        find_run(store, "20260101")
    assert caught.value.known == ("20260101-aa", "20260101-ab")
    with pytest.raises(RunError, match='no run is called "x"'):
        find_run(store, "x")


def test_in_an_empty_store_there_is_no_last_run(store: Store) -> None:
    assert list_runs(store) == []
    with pytest.raises(RunError):
        find_run(store)


def test_stage_names_become_different_safe_file_names() -> None:
    names = ["final[round=2].pseudo", "a/b", "a b", "A/B", "../up", "", "x" * 300, ".hidden"]
    found = file_names(names)
    assert list(found) == names
    assert len({name.lower() for name in found.values()}) == len(names)
    assert found["final[round=2].pseudo"] == "final[round=2].pseudo"
    for name in found.values():
        assert name and "/" not in name and not name.startswith(".") and len(name) < 150


def test_events_are_written_as_they_come_and_passed_on(tmp_path: Path) -> None:
    heard = []
    with EventLog(tmp_path / "events.jsonl", heard.append) as log:
        log.add("run-started", stages=2)
        assert len(read_events(tmp_path / "events.jsonl")) == 1, "nothing waits in a buffer"
        log.add("stage-progress", "s1", "trained", step=1, loss=0.5)
    first, second = read_events(tmp_path / "events.jsonl")
    assert first["kind"] == "run-started" and first["stages"] == 2
    assert (second["stage"], second["name"], second["loss"]) == ("s1", "trained", 0.5)
    assert [event.kind for event in heard] == ["run-started", "stage-progress"]


def test_an_event_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind": "run-started"}\n{"kind": "stage-st')
    assert [event["kind"] for event in read_events(path)] == ["run-started"]


def test_runs_of_one_second_are_listed_by_their_start(store: Store) -> None:
    folders = [create_folder(store) for _ in range(20)]
    assert [run.folder for run in list_runs(store)] == folders[::-1]


def test_a_run_with_a_damaged_manifest_can_be_listed(store: Store) -> None:
    folder = create_folder(store)
    finish(store, folder, {"run": folder.name})
    (folder / "run.json").write_bytes(b'{"run": "\xff')
    assert [run.status for run in list_runs(store)] == ["interrupted"]
