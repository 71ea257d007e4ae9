"""Every example runs through on every backend, each training cut to a few steps; `make full` runs the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from etude.runtime.cli.main import main

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.etude"))
STEPS = 20
DEAR = {"electra": (4, 'load("python:stdlib")', 'load("python:stdlib", limit = 40)')}
"""Examples whose steps, and what they measure on all their data, take a second or more: fewer steps, less data."""
JUDGED = {0, 3}  # claims hold or fail; after so few steps either is fine


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all runs: backends share the data."""
    return tmp_path_factory.mktemp("smoke") / "store"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_checked_and_planned(example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(example), "--format", "json"]) == 0
    found = {each["code"] for each in json.loads(capsys.readouterr().out)["diagnostics"]}
    assert found <= {"W403", "W407"}  # claims on a single seed, and one that compares budgets
    plans = []
    for backend in ("torch", "jax"):
        assert main(["plan", str(example), "--backend", backend, "--store", str(tmp_path), "--json"]) == 0
        plans.append(json.loads(capsys.readouterr().out))
    ids = [[stage["id"] for stage in plan["stages"]] for plan in plans]
    assert ids[0] == ids[1] and len(set(ids[0])) == len(ids[0])
    for plan in plans:
        totals = plan["totals"]
        assert totals["cached"] == 0
        assert totals["run"] + totals["merged"] + totals["dropped"] == len(plan["stages"])


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_through(example: Path, backend: str, store: Path, tmp_path: Path) -> None:
    steps = STEPS
    if example.stem in DEAR:
        steps, all_data, some_data = DEAR[example.stem]
        text = example.read_text()
        assert all_data in text
        example = tmp_path / example.name
        example.write_text(text.replace(all_data, some_data))
    done = subprocess.run(
        [sys.executable, "-m", "etude", "run", str(example), "--backend", backend, "--store", str(store), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "ETUDE_SMOKE_STEPS": str(steps)},
    )
    assert done.returncode in JUDGED, done.stderr
    run = json.loads(done.stdout)
    assert run["failed"] == 0
    trained = [stage for stage in run["stages"] if stage["kind"] == "train" and stage["action"] != "skipped"]
    assert trained and all(stage["made"]["steps"] <= steps for stage in trained)
    assert (Path(run["report"])).is_file()
