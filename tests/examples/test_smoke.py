"""Every example runs through on every backend, each training cut to a few steps; `make full` runs the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.etude"))
STEPS = "20"
JUDGED = {0, 3}  # claims hold or fail; after so few steps either is fine


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all runs: backends share the data."""
    return tmp_path_factory.mktemp("smoke") / "store"


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_through(example: Path, backend: str, store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "etude", "run", str(example), "--backend", backend, "--store", str(store), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "ETUDE_SMOKE_STEPS": STEPS},
    )
    assert done.returncode in JUDGED, done.stderr
    run = json.loads(done.stdout)
    assert run["failed"] == 0
    trained = [stage for stage in run["stages"] if stage["kind"] == "train" and stage["action"] != "skipped"]
    assert trained and all(stage["made"]["steps"] <= int(STEPS) for stage in trained)
    assert (Path(run["report"])).is_file()
