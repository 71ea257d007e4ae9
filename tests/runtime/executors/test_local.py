from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from etude.runtime.executors import Message
from etude.runtime.executors.local import LocalExecutor, exit_reason, worker_environment
from etude.runtime.gpus import visible_devices, visible_gpus
from etude.runtime.scheduling import default_jobs
from etude.runtime.stages import Settings
from etude.runtime.store import Store, injection

SETTINGS = Settings(backend="torch", threads=3)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalExecutor]:
    with LocalExecutor(SETTINGS, 2, tmp_path / "workers.log") as pool:
        yield pool


def request(store: Store, base: Path, kind: str, spec: Any) -> Mapping[str, Any]:
    return {
        "kind": kind,
        "spec": spec,
        "inputs": [],
        "settings": asdict(SETTINGS),
        "store": store.settings(),
        "base": str(base),
        "folder": str(base),
        "fingerprint": None,
    }


def finished(executor: LocalExecutor, count: int) -> dict[int, Message]:
    """The last message of so many tasks."""
    messages: dict[int, Message] = {}
    deadline = time.time() + 60
    while len(messages) < count and time.time() < deadline:
        messages |= {m.task: m for m in executor.poll(0.2) if m.kind in {"done", "failed"}}
    return messages


def test_tasks_are_executed_side_by_side_and_their_objects_are_in_the_store(
    executor: LocalExecutor, store: Store, numbers: Path
) -> None:
    load = request(store, numbers.parent, "load", {"uri": "numbers.csv", "options": {}})
    assert executor.has_room()
    executor.submit(1, load)
    assert executor.has_room()
    executor.submit(2, request(store, numbers.parent, "load", {"uri": "nowhere.csv", "options": {}}))
    assert not executor.has_room()
    messages = finished(executor, 2)
    assert messages[1].kind == "done"
    assert store.objects.size(messages[1].data["outputs"]["data"]) is not None
    assert messages[2].kind == "failed" and messages[2].data["error"] == "SourceError"
    assert messages[2].data["message"].startswith(str(numbers.parent / "nowhere.csv"))
    assert executor.has_room()


def test_the_worker_that_imports_the_framework_gets_the_tasks_that_need_it(
    store: Store, numbers: Path, tmp_path: Path
) -> None:
    load = request(store, numbers.parent, "load", {"uri": "numbers.csv", "options": {}})
    with LocalExecutor(SETTINGS, 2, tmp_path / "workers.log", warm=True) as pool:
        pool.submit(1, load)
        assert finished(pool, 1)[1].kind == "done"
        pool.submit(2, {**load, "framework": True})
        pool.submit(3, load)
        assert [worker.task for worker in pool._workers] == [3, 2]
        assert {message.kind for message in finished(pool, 2).values()} == {"done"}
        pool.submit(4, {**load, "framework": True})
        assert [worker.task for worker in pool._workers] == [None, 4]


def test_a_worker_that_dies_fails_its_task_and_is_replaced(
    executor: LocalExecutor, store: Store, numbers: Path
) -> None:
    load = request(store, numbers.parent, "load", {"uri": "numbers.csv", "options": {}})
    executor.submit(1, load)
    os.kill(executor._workers[0].process.pid, signal.SIGKILL)
    (message,) = finished(executor, 1).values()
    assert (message.kind, message.data["error"]) == ("failed", "WorkerEnded")
    assert "killed by signal 9 (SIGKILL), often for want of memory" in message.data["message"]
    executor.submit(2, load)
    assert finished(executor, 1)[2].kind == "done"


def test_a_mistake_of_ours_is_reported_as_such_with_its_traceback(
    executor: LocalExecutor, store: Store, tmp_path: Path
) -> None:
    executor.submit(1, request(store, tmp_path, "load", {"no uri": 1}))
    (message,) = finished(executor, 1).values()
    assert message.data["message"] == "internal error: KeyError: 'uri'"
    assert "Traceback" in message.data["traceback"]


MISSING = """
import sys
sys.modules["torch"] = None
from etude.runtime.stages import StageError, loaded_backend
try:
    loaded_backend(sys.argv[1], "cpu", 1)
except StageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("torch", 'the backend "torch" needs "torch", which is not installed\nhint: pip install "etude-lang[torch]"\n'),
        ("tensorflow", 'no backend is called "tensorflow"\n'),
    ],
)
def test_a_backend_that_is_not_there_is_named(backend: str, message: str) -> None:
    command = [sys.executable, "-c", MISSING, backend]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == message


def test_threads_are_capped_and_accelerators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    environment = worker_environment(SETTINGS)
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "3"
    assert environment["JAX_PLATFORMS"] == "cpu"
    shared = worker_environment(Settings(backend="jax", device="cuda"))
    assert (shared["JAX_PLATFORMS"], shared["XLA_PYTHON_CLIENT_PREALLOCATE"]) == ("cuda,cpu", "false")
    assert shared["XLA_CLIENT_MEM_FRACTION"] == "0.95"
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    assert "XLA_CLIENT_MEM_FRACTION" not in worker_environment(Settings(backend="jax", device="cuda"))


@pytest.mark.parametrize(
    ("given", "nodes", "gpus"),
    [
        (None, ["nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm", "null"], ["0", "1"]),
        (None, ["null"], []),
        ("2, GPU-1b,-1,0", ["nvidia0"], ["2", "GPU-1b"]),
        ("", ["nvidia0"], []),
    ],
)
def test_gpus_are_those_that_cuda_would_find(
    given: str | None, nodes: list[str], gpus: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for node in nodes:
        (tmp_path / node).touch()
    monkeypatch.setattr("etude.runtime.gpus.DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)

    assert visible_gpus() == gpus
    assert default_jobs("cuda", 64) == 4 * max(1, len(gpus)) and default_jobs("cuda", 2) == 2
    assert (default_jobs("cpu", 64), default_jobs("tpu", 64)) == (64, 1)


def test_workers_share_out_the_gpus(
    store: Store, numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    load = request(store, numbers.parent, "load", {"uri": "numbers.csv", "options": {}})
    with LocalExecutor(Settings(backend="torch", device="cuda"), 4, tmp_path / "workers.log") as pool:
        for task in range(3):
            pool.submit(task, load)
        assert [worker.gpus for worker in pool._workers] == [("4",), ("7",), ("4",)]
        environment = Path(f"/proc/{pool._workers[1].process.pid}/environ")
        if environment.exists():
            assert b"CUDA_VISIBLE_DEVICES=7" in environment.read_bytes().split(b"\0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    with LocalExecutor(Settings(backend="torch", device="cuda"), 4, tmp_path / "workers.log") as pool:
        pool.submit(0, load)
        assert [worker.gpus for worker in pool._workers] == [(None,)]


def test_who_had_too_little_memory_and_who_idles_beside_it_are_replaced(
    store: Store, numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = request(store, numbers.parent, "load", {"uri": "numbers.csv", "options": {}})
    with LocalExecutor(SETTINGS, 2, tmp_path / "workers.log") as pool:
        pool.submit(1, load)
        assert finished(pool, 1)[1].kind == "done"
        monkeypatch.setenv(injection.VARIABLE, f"memory:1:{tmp_path / 'trace'}")
        pool._workers[0].task = 0  # busy, so that the next task starts another worker
        pool.submit(2, load)
        pool._workers[0].task = None
        assert finished(pool, 1)[2].data["error"] == "OutOfMemory"
        assert pool._workers == []


@pytest.mark.parametrize(("code", "words"), [(-9, "SIGKILL"), (-11, "SIGSEGV"), (1, "exit code 1, see workers.log")])
def test_an_exit_code_is_explained(code: int, words: str) -> None:
    assert words in exit_reason(code)


def test_a_stage_on_a_mesh_has_gpus_of_its_own(
    store: Store, numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    load = {**request(store, numbers.parent, "load", {"uri": "numbers.csv", "options": {}}), "framework": True}
    with LocalExecutor(Settings(backend="jax", device="cuda"), 4, tmp_path / "workers.log") as pool:
        pool.submit(0, load)
        assert pool.has_room(2) and not pool.has_room(3)
        pool.submit(1, {**load, "devices": 2})
        assert [(worker.gpus, worker.is_alone) for worker in pool._workers] == [(("4",), False), (("5", "6"), True)]
        environment = Path(f"/proc/{pool._workers[1].process.pid}/environ")
        if environment.exists():
            assert b"CUDA_VISIBLE_DEVICES=5,6" in environment.read_bytes().split(b"\0")
        pool.submit(2, load)  # beside the first, on the only GPU that others may have
        assert pool._workers[2].gpus == ("4",)
        assert not pool.has_room(2)
        assert set(finished(pool, 3)) == {0, 1, 2}
        pool.submit(3, {**load, "devices": 3})  # idle workers would hold memory of its GPUs
        assert [worker.gpus for worker in pool._workers] == [("4", "5", "6")]
        assert not pool.has_room()
        assert finished(pool, 1)[3].kind == "done"
        assert pool.has_room()


def test_gpus_that_cannot_be_told_apart_belong_to_one_mesh(
    store: Store, numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    load = {**request(store, numbers.parent, "load", {"uri": "numbers.csv", "options": {}}), "framework": True}
    with LocalExecutor(Settings(backend="jax", device="cuda"), 4, tmp_path / "workers.log") as pool:
        pool.submit(0, load)
        assert pool.has_room() and not pool.has_room(2)
        assert finished(pool, 1)[0].kind == "done"
        pool.submit(1, {**load, "devices": 2})
        assert [(worker.gpus, worker.is_alone) for worker in pool._workers] == [((None,), True)]
        assert not pool.has_room()
        assert finished(pool, 1)[1].kind == "done"


def test_a_processor_plays_as_many_devices_as_the_largest_mesh_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=nowhere")
    own: dict[str, Any] = {"s1": {"mesh": {"model": 3}}}
    some = Settings(backend="jax", mesh={"data": 2}, stages=own)
    flags = worker_environment(some)["XLA_FLAGS"].split()

    assert flags[:2] == ["--xla_dump_to=nowhere", "--xla_force_host_platform_device_count=3"]
    assert (some.devices, some.of("s0").devices, some.of("s1").devices) == (3, 2, 3)
    assert worker_environment(Settings(backend="jax"))["XLA_FLAGS"] == "--xla_dump_to=nowhere"
    gpu = Settings(backend="jax", device="cuda", mesh={"data": 2})
    assert worker_environment(gpu)["XLA_FLAGS"] == "--xla_dump_to=nowhere"


@pytest.mark.parametrize(
    ("nodes", "count"), [(["accel0", "accel1", "null"], 2), (["vfio/vfio", "vfio/0", "vfio/3"], 2), (["null"], None)]
)
def test_tpu_chips_are_counted_by_the_files_of_their_driver(
    nodes: list[str], count: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vfio").mkdir()
    for node in nodes:
        (tmp_path / node).touch()
    monkeypatch.setattr("etude.runtime.gpus.DEVICES", tmp_path)

    assert visible_devices("tpu") == count
    assert visible_devices("cpu") is None
