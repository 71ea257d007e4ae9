"""How planning scales: whole processes from cold, on recipes of 1,000 to 100,000 stages unrolled from a comprehension,
cheap ones and a sweep of trainings over rates and seeds, each measured.

Prints wall time, CPU time and peak memory of `etude plan`, of a rerun with nothing to do, of a run with one new leaf,
and of one with a hundred. Records are put into the store by hand, as executing 10,000 stages would say nothing about
planning. On two idle cores, seconds of `plan` and rerun: 1,000 stages 0.18 and 0.26, 10,000 0.62 and 1.18, 100,000
4.5; of trainings and their measures 1,000 0.4 and 0.5, 10,000 2.1 and 3.1; a new leaf of 1,000 0.55. On a busy machine
look at the CPU times. `python benchmarks/plan_scale.py [--short]`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etude.runtime.compiling import compile_file
from etude.runtime.planning import plan_stages
from etude.runtime.stages import Settings
from etude.runtime.store import Record, Store
from etude.runtime.store.records import format_record

SAMPLES = 'd  = load("numbers.csv")\nxs = [sample(d, 50%, seed = x) for x in {first}..{last}]\n'
TRAININGS = (
    'd   = load("sklearn:digits") |> split(train = 80%, test = 20%)\nnet = flatten >> mlp([16, 10])\n'
    "fn trained(lr, s) = finetune(net, on = d.train, budget = 1epochs, optimizer = adam(lr), seed = s)\n"
    "accs = [accuracy(trained(0.001 * i, s), on = d.test) for i in {first}..{last} for s in 1..50]\n"
)
LIMITS = {
    "plan 1,000": (0.6, None),
    "plan 10,000": (1.5, None),
    "plan 100,000": (10.0, 800),
    "rerun 1,000": (0.6, None),
    "rerun 10,000": (2.5, None),
    "one leaf of 1,000": (1.0, None),
}


@dataclass(frozen=True)
class Measured:
    """One process: seconds on the clock and of the processor, and its largest size in megabytes."""

    wall: float
    cpu: float
    megabytes: float


def measure(folder: Path, *arguments: str, repeats: int = 3) -> Measured:
    """The best of several runs of `etude` with these arguments."""
    found = [_measure(folder, arguments) for _ in range(repeats)]
    return Measured(
        min(each.wall for each in found), min(each.cpu for each in found), max(each.megabytes for each in found)
    )


def _measure(folder: Path, arguments: Sequence[str]) -> Measured:
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "etude", *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"etude {' '.join(arguments)} exits with {process.returncode}")
    return Measured(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def write(folder: Path, name: str, text: str, first: int, last: int) -> str:
    """A recipe of so many stages and the file that it loads."""
    (folder / "numbers.csv").write_text("x,label\n" + "".join(f"{i / 2},{i % 2}\n" for i in range(40)))
    (folder / name).write_text(text.format(first=first, last=last))
    return name


def fill(folder: Path, recipe: str) -> None:
    """Put a record of every stage into the folder's store."""
    workflow = compile_file(folder / recipe).workflow
    assert workflow is not None
    store = Store(folder / ".etude")
    hash, history = store.objects.put_json(0.5), store.objects.put_json([{"epoch": 1, "step": 1, "loss": 0.5}])
    while True:
        planned = plan_stages(workflow, store, Settings(backend="torch"), folder).values()
        missing = [each for each in planned if each.action == "run" and each.key]
        for each in missing:
            outputs = {port: history if kind == "History" else hash for port, kind in each.stage.outputs.items()}
            record = Record(
                key=str(each.key),
                kind=each.stage.kind,
                outputs=outputs,
                objects={object: store.objects.size(object) or 0 for object in set(outputs.values())},
                seconds=0.01,
                created=1.0,
            )
            path = store.records.locate(record.key)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(format_record(record))
        if not missing:
            return


def show(name: str, found: Measured) -> None:
    """A line of the table, with the limit where there is one."""
    seconds, megabytes = LIMITS.get(name, (None, None))
    limit = f"limit {seconds} s" if seconds else ""
    limit += f", {megabytes} MB" if megabytes else ""
    print(f"{name:30} {found.wall:7.2f} s wall {found.cpu:7.2f} s CPU {found.megabytes:6.0f} MB  {limit}", flush=True)


def main() -> None:
    """Print the table."""
    short = "--short" in sys.argv
    for count in (1_000, 10_000) if short else (1_000, 10_000, 100_000):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            recipe = write(folder, "samples.etude", SAMPLES, 1, count - 1)
            show(f"plan {count:,}", measure(folder, "plan", recipe, repeats=1 if count > 10_000 else 3))
            if count <= 10_000:
                fill(folder, recipe)
                show(f"rerun {count:,}", measure(folder, "run", recipe, "--backend", "torch"))
                trained = write(folder, "trainings.etude", TRAININGS, 1, count // 100)
                show(f"plan {count:,}: train, measure", measure(folder, "plan", trained))
                fill(folder, trained)
                show(f"rerun {count:,}: train, measure", measure(folder, "run", trained, "--backend", "torch"))
    with tempfile.TemporaryDirectory() as name:
        _leaves(Path(name))


def _leaves(folder: Path) -> None:
    """What a run takes for one new leaf beside 999 known ones, and for a hundred new ones."""
    measure(folder, "run", write(folder, "real.etude", SAMPLES, 9_000, 9_000), "--backend", "torch", repeats=1)
    fill(folder, write(folder, "samples.etude", SAMPLES, 1, 999))
    for name, first, last in (("one leaf of 1,000", 2, 1_000), ("100 trivial stages", 2_001, 2_100)):
        recipe = write(folder, "edited.etude", SAMPLES, first, last)
        show(name, measure(folder, "run", recipe, "--backend", "torch", "--jobs", "1", repeats=1))


if __name__ == "__main__":
    main()
