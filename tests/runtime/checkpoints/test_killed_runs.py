"""Runs whose processes are killed, or asked to end, in the middle of a training: what comes after ends the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from etude.runtime.checkpoints import STEPS_VARIABLE, kept_steps
from etude.runtime.cli.showing import result_text, unfinished_stages
from etude.runtime.compiling import compile_text
from etude.runtime.events import Event, read_events
from etude.runtime.planning import plan_stages
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.runs import list_runs
from etude.runtime.stages import Settings
from etude.runtime.store import Store
from etude.runtime.store.injection import STEP_VARIABLE

RECIPE = """
irises = load("sklearn:iris") |> split(train = 60%, valid = 20%, test = 20%, stratify = "label")
net    = mlp([8]) >> linear(3)
tuned  = finetune(net, on = irises.train, valid = irises.valid, budget = 24steps, batch = 16, keep = best)
"""


def performed(store: Store, backend: str, **settings: Any) -> RunResult:
    workflow = compile_text(RECIPE, "test.etude", Path()).workflow
    assert workflow is not None
    return run(workflow, store=store, backend=backend, base=Path(), jobs=1, **settings)


def trained(result: RunResult) -> Any:
    return next(stage for stage in result.stages.values() if stage.kind == "train")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The stage as an uninterrupted run makes it, by backend."""
    stages: dict[str, Any] = {}

    def made(backend: str) -> Any:
        if backend not in stages:
            stages[backend] = trained(performed(Store(tmp_path_factory.mktemp(backend) / "store"), backend))
        return stages[backend]

    return made


@pytest.mark.parametrize(("backend", "steps"), [("torch", "10"), ("jax", "3,10")])
def test_workers_that_are_killed_at_several_steps_end_with_the_same_hashes(
    backend: str, steps: str, whole: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(backend)
    monkeypatch.setenv(STEPS_VARIABLE, "4")
    monkeypatch.setenv(STEP_VARIABLE, f"kill:{steps}")
    events: list[Event] = []

    stage = trained(performed(store, backend, retries=2, on_event=events.append))

    assert stage.action == "run" and stage.outputs == expected.outputs
    assert stage.made["continued"] == [8] and "continued" not in expected.made
    told = [(event.data["step"], event.data["steps"]) for event in events if event.kind == "stage-continued"]
    assert told == [(8, 24)]
    assert [event.data["step"] for event in events if event.kind == "stage-kept"] == [4, 8, 12, 16, 20]
    assert not list(store.partial.iterdir())


def command(folder: Path, fault: str) -> subprocess.CompletedProcess[str]:
    """`etude run` in a process of its own, with a fault after some step, and checkpoints every fourth step."""
    (folder / "recipe.etude").write_text(RECIPE)
    environment = {**os.environ, STEPS_VARIABLE: "4", STEP_VARIABLE: fault, "NO_COLOR": "1"}
    line = [
        sys.executable,
        "-m",
        "etude",
        "run",
        "recipe.etude",
        "--backend",
        "torch",
        "--jobs",
        "1",
        "--store",
        "store",
    ]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


STOPPED = "interrupted, tuned at step {} of 24; the state is kept"
FAULTS = [  # each goes on from what the one before left: kind, step, the step that is kept, exit code, what is said
    ("kill-run", 6, 4, -signal.SIGKILL, ""),
    ("interrupt", 9, 9, 130, STOPPED),
    ("worker-terminate", 13, 13, 130, STOPPED),
    ("interrupt-twice", 18, 16, 130, "interrupted; what was finished is kept"),
]


def test_runs_that_are_ended_leave_no_process_and_are_continued_to_the_same_hashes(
    whole: Any, store: Store, tmp_path: Path
) -> None:
    for kind, step, kept, code, said in FAULTS:
        ended = command(tmp_path, f"{kind}:{step}")

        assert ended.returncode == code, ended.stderr
        assert "Traceback" not in ended.stderr + ended.stdout
        assert ended.stderr.splitlines()[-1].startswith(said.format(step))
        latest = list_runs(store)[0]
        assert latest.status == "interrupted"
        assert "Traceback" not in (latest.folder / "workers.log").read_text()
        (mark,) = latest.folder.glob(f"stages/*/{kind}-{step}")
        assert ends(int(mark.read_text()))
        assert kept_steps(store, whole("torch").key)[0] == kept
        assert f"begun before, goes on from step {kept}" in planned_reasons(store)
        stages = unfinished_stages(latest.folder / "events.jsonl", is_over=True)
        tuned = next(stage for stage in stages if stage["name"] == "tuned")
        assert tuned["action"] == ("stopped" if said == STOPPED else "cut off")
        assert said != STOPPED or result_text(tuned, store) == f"step {step} of 24"
        if code == 130:
            assert read_events(latest.folder / "events.jsonl")[-1]["kind"] == "run-interrupted"

    stage = trained(performed(store, "torch"))

    assert stage.outputs == whole("torch").outputs
    assert stage.made["continued"] == [4, 9, 13, 16]
    assert not list(store.partial.iterdir())


def planned_reasons(store: Store) -> set[str]:
    """Why a plan says that stages will run."""
    workflow = compile_text(RECIPE, "test.etude", Path()).workflow
    assert workflow is not None
    return {each.reason for each in plan_stages(workflow, store, Settings(backend="torch"), Path()).values()}


def ends(pid: int) -> bool:
    """Whether a process ends by itself: it kills the run a moment before it is killed, too."""
    until = time.monotonic() + 60
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_running(pid)


def is_running(pid: int) -> bool:
    """Whether a process is there and does something, or only waits for somebody to take note of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
