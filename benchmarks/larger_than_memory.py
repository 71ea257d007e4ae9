"""Train on data larger than the memory it is given: from the store's files, and with the same rows in memory.

Makes a data set of 4 GB in the store, then trains the same steps of one epoch on it in processes of their own, by
turns: with batches that are read ahead, as a worker does with data that does not fit, and with all of it on the device.
Both see the same rows in the same order, so their losses must be the same. Printed are the median of the rows a second,
the ratio (0.9 is the aim), and the most memory that a process held while it trained: `anonymous` is what the system
cannot take back; `resident` counts pages of files, too, which it can. `--clock cpu` counts processor seconds of all
threads, for machines that have other things to do: there, reading has no processor of its own.

    python benchmarks/larger_than_memory.py [--bytes 4e9] [--dim 1024] [--width 256] [--batch 256] [--steps 1500]
                                            [--pairs 3] [--backend torch] [--clock wall] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from etude.backends.base import load
from etude.backends.feeding import VARIABLE
from etude.runtime.compiling import compile_text
from etude.runtime.datasets import Dataset
from etude.runtime.stages import Job, LazyColumns, Settings, execute
from etude.runtime.store import Store

RECIPE = """
data = load("synthetic:blobs", n = {rows}, dim = {dim}, classes = 10)
tuned = finetune(mlp([{width}, 10]), on = data, batch = {batch}, budget = 1epochs)
report {{ accuracy = accuracy(tuned, on = data) }}
"""
MODES = {"from files": "0", "in memory": str(1 << 50)}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def recipe(options: argparse.Namespace) -> str:
    rows = int(options.bytes) // (4 * options.dim)
    return RECIPE.format(rows=rows, dim=options.dim, width=options.width, batch=options.batch)


def generated(options: argparse.Namespace) -> dict[str, Any]:
    """Make the data set in a process of its own: its hash, and what that took."""
    return in_process(options, "generate", "0")


def in_process(options: argparse.Namespace, task: str, resident: str) -> dict[str, Any]:
    """Run a task in a new process; what it found."""
    found = subprocess.run(
        [sys.executable, __file__, "--task", task, *(sys.argv[1:]), "--folder", str(options.folder)],
        env={**os.environ, VARIABLE: resident, "OMP_NUM_THREADS": str(options.threads)},
        capture_output=True,
        text=True,
    )
    if found.returncode:
        raise SystemExit(found.stderr)
    return dict(json.loads(found.stdout.splitlines()[-1]))


class Peak(threading.Thread):
    """The most memory that this process held since it was started, MiB: looked at a hundred times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous, self.resident, self.is_over = 0, 0, threading.Event()

    def run(self) -> None:
        while not self.is_over.wait(0.01):
            self.look()

    def look(self) -> None:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        anonymous, resident = (int(status[name].split()[0]) // 1024 for name in ("RssAnon", "VmRSS"))
        self.anonymous, self.resident = max(self.anonymous, anonymous), max(self.resident, resident)


def stage(options: argparse.Namespace, kind: str) -> dict[str, Any]:
    compilation = compile_text(recipe(options), "larger.etude", Path.cwd())
    assert compilation.workflow is not None, [diagnostic.message for diagnostic in compilation.diagnostics]
    (found,) = (stage for stage in compilation.workflow.stages.values() if stage.kind == kind)
    return dict(found.spec)


def generate(options: argparse.Namespace) -> dict[str, Any]:
    peak, started = Peak(), time.perf_counter()
    peak.start()
    job = Job(
        store=Store(options.folder / "store"),
        kind="load",
        spec=stage(options, "load"),
        inputs=[],
        settings=Settings(backend="torch"),
        base=options.folder,
        folder=options.folder,
    )
    hash = execute(job).outputs["data"]
    (options.folder / "data").write_text(hash)
    return {"seconds": time.perf_counter() - started, "anonymous": peak.anonymous, "resident": peak.resident}


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train for some steps; the first tenth of them does not count, and neither does the loading."""
    backend = load(options.backend, device=options.device, threads=options.threads)
    data = Dataset.open(Store(options.folder / "store"), (options.folder / "data").read_text())
    peak, times = Peak(), []
    peak.start()

    def is_over() -> bool:
        times.append(CLOCKS[options.clock]())
        return False

    made = backend.train(
        stage(options, "train"),
        LazyColumns(data),
        data.ids,
        None,
        {},
        options.folder,
        lambda event: None,
        is_over,
        limit=options.steps,
    )
    peak.look()
    first = len(times) // 10
    rate = (len(times) - 1 - first) * options.batch / (times[-1] - times[first])
    loss = made.history[-1]["loss"]
    return {"rate": rate, "anonymous": peak.anonymous, "resident": peak.resident, "loss": loss, "steps": made.steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=float, default=4e9)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--task", choices=["generate", "train"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(generate(options) if options.task == "generate" else train(options)))
    elif options.folder:
        compare(options)
    else:
        with tempfile.TemporaryDirectory() as folder:
            options.folder = Path(folder)
            compare(options)


def compare(options: argparse.Namespace) -> None:
    if not (options.folder / "data").exists():
        made = generated(options)
        print(f"{options.bytes / 1e9:.1f} GB made in {made['seconds']:.0f} s, {made['anonymous']} MiB anonymous")
    found: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    for pair in range(options.pairs):
        for mode in list(MODES)[:: 1 if pair % 2 else -1]:
            found[mode].append(in_process(options, "train", MODES[mode]))
    for mode, runs in found.items():
        rate = statistics.median(run["rate"] for run in runs)
        anonymous, resident = (max(run[name] for run in runs) for name in ("anonymous", "resident"))
        print(
            f"{options.backend} {mode:10}  {rate:9.0f} rows a second  {anonymous:5} MiB anonymous {resident:5} resident"
        )
    rates = zip(*([run["rate"] for run in found[mode]] for mode in MODES), strict=True)
    losses = {run["loss"] for runs in found.values() for run in runs}
    print(f"ratio {statistics.median(files / memory for files, memory in rates):.3f}  losses {losses}")


if __name__ == "__main__":
    main()
