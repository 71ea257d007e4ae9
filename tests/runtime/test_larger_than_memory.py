"""Data that is above the limit for memory is trained on, mapped, filtered and measured in a fraction of its size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from pathlib import Path
import etude.backends.feeding as feeding
from etude.compiler.workflow import Ref
from etude.runtime.compiling import compile_text
from etude.runtime.stages import Job, Settings, execute
from etude.runtime.store import Store

RECIPE = '''
data  = load("synthetic:blobs", n = {rows}, dim = 1000, classes = 4, seed = {rows})
parts = split(data, train = 90%, valid = 10%)
some  = sample(parts.train, 80%)
moved = map(some, row => {{...row, features: row.features * 2.0}})
kept  = filter(moved, row => row.features[0] > -100.0)
tuned = finetune(mlp([4]), on = kept, batch = 64, budget = 1epochs, valid = parts.valid)
report {{
  mean     = measure(on = kept, row => mean(row.features))
  accuracy = accuracy(tuned, on = kept)
}}
'''
feeding.PIECE_BYTES = 1 << 20
base, backend = Path(sys.argv[1]), sys.argv[2]
store, peak = Store(base / "store"), 0

def anonymous():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon"))) // 1024

def look(*_):
    global peak
    peak = max(peak, anonymous())
    return False

def run(rows):
    workflow = compile_text(RECIPE.format(rows=rows), "large.etude", base).workflow
    outputs, made = {}, {}
    for stage in workflow.stages.values():
        if stage.kind not in {"load", "split", "sample", "map", "filter", "train", "measure"}:
            continue
        job = Job(store=store, kind=stage.kind, spec=stage.spec, inputs=[outputs[ref] for ref in stage.inputs],
                  settings=Settings(backend=backend), base=base, folder=base, emit=look, stop=look)
        result = execute(job)
        look()
        outputs |= {Ref(stage.id, port): hash for port, hash in result.outputs.items()}
        made.setdefault(stage.kind, result.made)
    return made

run(1000)
before, peak = anonymous(), 0
made = run(int(sys.argv[3]))
print(json.dumps({"before": before, "peak": peak, "steps": made["train"]["steps"], "kept": made["filter"]["rows"]}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")
def test_a_workflow_over_64_mb_takes_less_than_that(tmp_path: Path) -> None:
    environment = {**os.environ, "ETUDE_RESIDENT_BYTES": str(1 << 20), "MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), "torch", "16000"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])

    assert found["kept"] == 11520
    assert found["steps"] == 11520 // 64
    assert found["peak"] - found["before"] < 56  # in memory, the rows before and after the map would be 92
