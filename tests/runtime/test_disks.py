"""Disks that are full, read-only or small: a clear message, and the next run on a sound disk comes to its results."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.store import Store, StoreError, injection
from etude.runtime.store.garbage import find_garbage
from etude.runtime.store.holders import this_process
from etude.runtime.store.inspection import verify_store

Sketch = Any


def small(sketch: Sketch) -> Sketch:
    """numbers -> mean -> claim."""
    mean = sketch.measure(sketch.load("numbers.csv", name="numbers"), "x", name="mean")
    sketch.workflow.metrics["mean"] = mean
    sketch.claim(["gt", ["input", 0], ["number", 2]], mean)
    return sketch


def attempt(sketch: Sketch, root: Path, base: Path) -> RunResult | StoreError:
    """What a run comes to, or what it ends with."""
    try:
        return run(sketch.workflow, store=Store(root), backend="torch", base=base, jobs=1)
    except StoreError as error:
        return error


def messages(outcome: RunResult | StoreError) -> list[str]:
    """What people are told; every failure is the disk's."""
    if isinstance(outcome, StoreError):
        return [str(outcome)]
    return [str(stage.failure["message"]) for stage in outcome.failed if stage.failure]


def whole(sketch: Sketch, root: Path, base: Path) -> None:
    """A run on a sound disk finds or makes everything, and the store is sound."""
    assert verify_store(Store(root)).is_sound
    result = attempt(sketch, root, base)
    assert messages(result) == []
    assert isinstance(result, RunResult) and result.metrics == {"mean": 2.25}


class Faults:
    """Arms an injection in this process and in the workers that it starts."""

    def __init__(self, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trace, self.monkeypatch = trace, monkeypatch

    def arm(self, kind: str, number: int) -> None:
        self.trace.unlink(missing_ok=True)
        setting = f"{kind}:{number}:{self.trace}"
        self.monkeypatch.setenv(injection.VARIABLE, setting)
        self.monkeypatch.setattr(injection, "before", injection.armed(setting))

    def disarm(self) -> int:
        """The operations that there were."""
        self.monkeypatch.undo()
        return len(injection.read_trace(self.trace))


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(tmp_path / "trace", monkeypatch)


@pytest.mark.parametrize(
    ("kind", "message", "hint"),
    [("full", "the disk is full", "etude store gc"), ("readonly", "this disk is read-only", "--store")],
)
def test_a_disk_that_gives_out_at_any_moment_is_named_and_nothing_is_harmed(
    kind: str, message: str, hint: str, sketch: Sketch, faults: Faults, numbers: Path, tmp_path: Path
) -> None:
    small(sketch)
    faults.arm("count", 0)
    attempt(sketch, tmp_path / "counted", tmp_path)
    count = faults.disarm()
    assert count > 100
    for number in range(1, count * 3 // 4, count // 3):  # the last operations are not always reached
        root = tmp_path / f"{number}"
        faults.arm(kind, number)
        told = messages(attempt(sketch, root, tmp_path))
        faults.disarm()
        assert told and all(message in text and hint in text for text in told), (number, told)
        whole(sketch, root, tmp_path)


def test_each_object_is_synced_before_its_name_and_each_record_comes_after_its_objects(
    sketch: Sketch, faults: Faults, numbers: Path, store: Store
) -> None:
    """What a loss of power needs: of a file its bytes, then its name, then its folder, then who names it."""
    faults.arm("count", 0)
    attempt(small(sketch), store.root, numbers.parent)
    faults.disarm()
    operations = [(operation, Path(path)) for _, _, operation, path in injection.read_trace(faults.trace)]
    objects = [i for i, (what, path) in enumerate(operations) if what == "rename" and "objects" in path.parts]
    assert len(objects) > 4
    for i in objects:
        assert operations[i - 1][0] == "fsync" or operations[i - 2][0] == "fsync"
        assert operations[i + 1] == ("fsync", operations[i][1].parent)
    for record in store.records:
        position = operations.index(("link", store.records.locate(record.key)))
        synced = {path for what, path in operations[:position] if what == "fsync"}
        assert {store.objects.locate(hash).parent for hash in record.objects} <= synced


def test_a_file_larger_than_is_allowed_fails_its_stage(sketch: Sketch, tmp_path: Path) -> None:
    rows = "".join(f"{i / 2},{i % 2}\n" for i in range(20_000))
    (tmp_path / "numbers.csv").write_text("x,label\n" + rows)
    small(sketch)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        told = messages(attempt(sketch, tmp_path / "store", tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told and "larger than is allowed" in told[0] and "ulimit -f" in told[0]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a file system needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_on_a_small_disk_the_run_says_so_and_goes_on_when_there_is_room(
    sketch: Sketch, disk: Path, numbers: Path, tmp_path: Path
) -> None:
    small(sketch)
    Store(disk / "store")
    for pages in (2, 6):
        with (disk / "other").open("wb", buffering=0) as other, contextlib.suppress(OSError):
            while True:
                other.write(bytes(4096))
        os.truncate(disk / "other", (disk / "other").stat().st_size - pages * 4096)
        told = messages(attempt(sketch, disk / "store", tmp_path))
        assert told and all("the disk is full" in text for text in told)
        (disk / "other").unlink()
    whole(sketch, disk / "store", tmp_path)


def test_a_read_only_store_can_be_read_and_a_run_says_that_it_cannot_be_written(
    sketch: Sketch, disk: Path, numbers: Path, tmp_path: Path
) -> None:
    small(sketch)
    first = attempt(sketch, disk / "store", tmp_path)
    assert isinstance(first, RunResult)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    store = Store(disk / "store")
    assert all(store.record(str(stage.key)) for stage in first.stages.values())
    assert store.read_json(first.stages["s1"].outputs["value"]) == 2.25
    told = messages(attempt(sketch, disk / "store", tmp_path))
    assert told and "this disk is read-only" in told[0] and "--store" in told[0]


def test_a_clock_that_was_set_back_changes_nothing(sketch: Sketch, numbers: Path, tmp_path: Path) -> None:
    """All that is there comes from the future, with the lease of a process that is gone."""
    small(sketch)
    first = attempt(sketch, tmp_path / "store", tmp_path)
    assert isinstance(first, RunResult)
    store = Store(tmp_path / "store")
    store.records.remove(str(first.stages["s1"].key))
    gone = subprocess.Popen(["true"])
    gone.wait()
    holder = {**this_process(), "pid": gone.pid, "since": 4e9, "token": "theirs"}
    (store.root / "leases" / f"{first.stages['s1'].key}.json").write_text(json.dumps(holder))
    (store.scratch / "leftover").write_bytes(b"half")
    for path in [numbers, *tmp_path.joinpath("store").rglob("*")]:
        os.utime(path, (4e9, 4e9))
    again = attempt(sketch, tmp_path / "store", tmp_path)
    assert isinstance(again, RunResult)
    assert [stage.action for stage in again.stages.values()] == ["cached", "run", "cached"]
    assert again.metrics == first.metrics
    assert not find_garbage(store, last=0, days=0).objects
