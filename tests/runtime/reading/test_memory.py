"""Loading takes as much memory for a large source as for a small one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, resource, sys
from pathlib import Path
import numpy as np
from etude.runtime.datasets import Dataset
from etude.runtime.sources import chunks
from etude.runtime.stages import Job, Settings, execute
from etude.runtime.store import Store

def peak():
    return int(next(l.split()[1] for l in open("/proc/self/status") if l.startswith("VmHWM"))) // 1024

def load(rows):
    spec = {"uri": "synthetic:blobs", "options": {"n": rows, "dim": 1000}}
    base = Path(sys.argv[1])
    job = Job(store=Store(base / "store"), kind="load", spec=spec, inputs=[], settings=Settings(backend="torch"),
              base=base, folder=base)
    return Dataset.open(job.store, execute(job).outputs["data"])

load(2_000)
before = peak()
data = load(int(sys.argv[2]))
loaded = peak()
rows = data.reader("features")
order = np.random.default_rng(0).permutation(len(rows))
total = sum(float(rows[order[start : start + 256]].sum(dtype=np.float64)) for start in range(0, len(rows), 256))
print(json.dumps({"before": before, "loaded": loaded, "read": peak(), "total": total, "rows": len(rows)}))
"""


def measure(folder: Path, rows: int) -> dict[str, float]:
    """The peak of resident memory in MiB: after a small load, after a large one, and after a pass in random order."""
    command = [sys.executable, "-c", PROGRAM, str(folder), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
def test_a_source_of_400_mb_is_loaded_and_read_in_little_memory(tmp_path: Path) -> None:
    found = measure(tmp_path, 100_000)
    assert found["rows"] == 100_000
    assert found["loaded"] - found["before"] < 150
    assert found["read"] - found["before"] < 200
