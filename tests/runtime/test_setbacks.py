"""Workers that die, memory that runs out, and requests to end."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.runtime.events import Event
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.setbacks import Losses, Retries
from etude.runtime.store import MissingObject, StoreError, injection
from etude.runtime.worker import failure

Sketch = Any
Runs = Any


def small(sketch: Sketch) -> Sketch:
    """numbers -> mean."""
    sketch.workflow.metrics["mean"] = sketch.measure(sketch.load("numbers.csv", name="numbers"), "x", name="mean")
    return sketch


def actions(result: RunResult) -> dict[str, str]:
    return {stage.name: stage.action for stage in result.stages.values()}


class OutOfMemoryError(RuntimeError):
    """What PyTorch raises on an accelerator, by its name."""


class AcceleratorError(RuntimeError):
    """What PyTorch raises for errors of a driver, by its name."""


class XlaRuntimeError(RuntimeError):
    """What JAX raises, by its name."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes"),
        AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_is_said_in_one_paragraph_whoever_notices(error: Exception) -> None:
    report = failure(error)
    assert report["error"] == "OutOfMemory"
    assert report["message"].startswith("there is not enough memory: ") and "--jobs 1" in report["message"]
    assert type(error).__name__ in report["traceback"]


def test_an_array_that_does_not_fit_is_too_little_memory() -> None:
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 50)
    assert failure(caught.value)["message"].startswith("there is not enough memory: Unable to allocate")


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "StoreError", "/data/x: the disk is full"),
        (ConnectionResetError("reset by peer"), "ConnectionError", "the network failed: reset by peer"),
        (TimeoutError(), "TimeoutError", "the network failed: TimeoutError"),
        (StoreError("no", path=Path("store")), "StoreError", "store: no"),
        (
            AcceleratorError("CUDA error: device-side assert triggered\nCUDA kernel errors might be"),
            "DeviceFailed",
            "the GPU failed: CUDA error: device-side assert triggered\nhint: an index out of its range ends like this",
        ),
        (XlaRuntimeError("INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS"), "DeviceFailed", "the GPU failed: INTERNAL"),
        (RuntimeError("shapes differ"), "RuntimeError", "internal error: RuntimeError: shapes differ"),
    ],
)
def test_other_failures_say_whose_they_are(error: Exception, name: str, message: str) -> None:
    report = failure(error)
    assert (report["error"], report["lost"]) == (name, None)
    assert report["message"].startswith(message)


def test_a_lost_object_is_named_in_the_report() -> None:
    assert failure(MissingObject("ab" * 32, Path("x")))["lost"] == "ab" * 32


def kill_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first worker be killed in the middle of its first stage."""
    monkeypatch.setenv(injection.VARIABLE, f"kill:4:{tmp_path / 'trace'}")


def test_a_killed_worker_fails_its_stage(
    sketch: Sketch, runs: Runs, numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_once(tmp_path, monkeypatch)
    result = runs(small(sketch))
    assert actions(result) == {"numbers": "failed", "mean": "skipped"}
    assert "killed by signal 9 (SIGKILL), often for want of memory" in result.failed[0].failure["message"]  # type: ignore[index]
    assert runs(sketch).metrics == {"mean": 2.25}


def test_a_stage_whose_worker_was_killed_is_tried_again_where_that_is_asked_for(
    sketch: Sketch, runs: Runs, numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_once(tmp_path, monkeypatch)
    result = runs(small(sketch), retries=1)
    assert (actions(result), result.metrics) == ({"numbers": "run", "mean": "run"}, {"mean": 2.25})
    (warning,) = [event for event in runs.events if event.kind == "stage-warning"]
    assert warning.name == "numbers" and warning.data["message"].endswith("; attempt 2 of 2")
    assert list((runs.store.root / "leases").iterdir()) == []


def test_a_worker_that_had_too_little_memory_is_replaced_and_its_stage_tried_again(
    sketch: Sketch, runs: Runs, numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(injection.VARIABLE, f"memory:4:{tmp_path / 'trace'}")
    result = runs(small(sketch), retries=1, jobs=2)
    assert (actions(result), result.metrics) == ({"numbers": "run", "mean": "run"}, {"mean": 2.25})
    (warning,) = [event for event in runs.events if event.kind == "stage-warning"]
    assert warning.data["message"].startswith("there is not enough memory")
    workers = [pid for who, pid, *_ in injection.read_trace(tmp_path / "trace") if who == "worker"]
    assert workers[-1] != workers[0], "the memory that it holds is given back"


def test_what_another_attempt_cannot_mend_is_not_tried_again(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    numbers.unlink()
    result = runs(small(sketch), retries=3)
    assert actions(result) == {"numbers": "failed", "mean": "skipped"}
    assert runs.of_kind("stage-warning") == []


def test_attempts_are_counted_and_those_for_want_of_memory_are_made_alone(sketch: Sketch) -> None:
    small(sketch)
    first, second = sketch.workflow.stages.values()
    retries = Retries(most=2)
    assert not retries.another(first, {"error": "StageError"})
    assert retries.another(first, {"error": "ConnectionError"}) and not retries.alone
    assert retries.another(first, {"error": "OutOfMemory"}) and retries.alone == {first.id}
    assert not retries.another(first, {"error": "OutOfMemory"})
    assert retries.another(second, {"error": "WorkerEnded"})


def test_an_object_may_be_lost_by_several_in_one_round_but_not_again_in_the_next() -> None:
    losses = Losses()
    assert losses.add("one") and losses.add("one") and losses.add("two")
    losses.round += 1
    assert losses.add("three") and not losses.add("one")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_end_lets_the_stage_that_runs_come_to_its_end(
    sketch: Sketch, runs: Runs, numbers: Path, number: int
) -> None:
    kinds = []

    def interrupt(event: Event) -> None:
        kinds.append(event.kind)
        if event.kind == "stage-started" and event.name == "numbers":
            os.kill(os.getpid(), number)

    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        run(small(sketch).workflow, store=runs.store, backend="torch", base=runs.base, jobs=1, on_event=interrupt)
    assert set(kinds[-3:-1]) == {"run-stopping", "stage-finished"}  # a quick stage can be done before the word is read
    assert kinds[-1] == "run-interrupted"
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert actions(runs(sketch)) == {"numbers": "cached", "mean": "run"}


def test_a_second_request_ends_at_once(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    def interrupt(event: Event) -> None:
        if event.kind == "stage-started":
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(small(sketch).workflow, store=runs.store, backend="torch", base=runs.base, jobs=1, on_event=interrupt)
    assert list(runs.store.records) == [] and list((runs.store.root / "leases").iterdir()) == []
    assert actions(runs(sketch)) == {"numbers": "run", "mean": "run"}
