"""Several runs at once over one store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

SHARED = """data  = load("numbers.csv") |> split(train = 60%, test = 40%)
few   = data.train |> sample({share}%)
means = {{few: measure(few, row => row.x), all: measure(data.train, row => row.x)}}
expect means.few > 1 because "numbers grow"
report {{ table = table([means]) }}
"""


def test_eight_runs_of_overlapping_recipes_execute_each_stage_once_and_agree(tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text("x,label\n" + "".join(f"{n / 2},{n % 2}\n" for n in range(40)))
    shares = [50, 50, 50, 50, 60, 60, 70, 50]
    processes = []
    for number, share in enumerate(shares):
        (tmp_path / f"{number}.etude").write_text(SHARED.format(share=share))
        command = [sys.executable, "-m", "etude", "run", f"{number}.etude", "--jobs", "1", "--json"]
        processes.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    runs = [json.loads(out) for out, _ in outputs]
    stages = [stage for run in runs for stage in run["stages"]]
    executed = Counter(stage["key"] for stage in stages if stage["action"] == "run")
    assert set(executed) == {stage["key"] for stage in stages}
    assert set(executed.values()) == {1}, "a stage was executed twice"
    by_key: dict[str, set[str]] = {}
    for stage in stages:
        by_key.setdefault(stage["key"], set()).add(json.dumps(stage["outputs"], sort_keys=True))
    assert all(len(found) == 1 for found in by_key.values())
    assert len({json.dumps(run["claims"]) for run, share in zip(runs, shares, strict=True) if share == 50}) == 1
    assert list((tmp_path / ".etude" / "leases").iterdir()) == []
