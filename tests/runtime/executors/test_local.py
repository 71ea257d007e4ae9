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
from etude.runtime.stages import Settings
from etude.runtime.store import Store

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
    assert "JAX_PLATFORMS" not in shared and shared["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


@pytest.mark.parametrize(("code", "words"), [(-9, "SIGKILL"), (-11, "SIGSEGV"), (1, "exit code 1, see workers.log")])
def test_an_exit_code_is_explained(code: int, words: str) -> None:
    assert words in exit_reason(code)
