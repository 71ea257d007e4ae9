"""What a plan says that trainings need of memory, beside what they take: every distinct training of the examples, on
PyTorch and JAX, each in a process of its own.

A process is looked at twice: when the framework is imported and warm, and when it has done a few steps of the training
on made-up rows. What it took more at its largest is the training, with all that the framework needs the first time it
computes (kernels, threads, XLA's compiler). So there are two figures for each: the plan of the whole process, which has
to be within a factor of 1.5 of the truth, and the plan of the training beside what came on top, which says more of
large trainings than of small ones. `--batch 8` makes batches eight times as large as the recipes'.

On two cores the first twenty-odd processes, from 0.3 to 1.3 GB, were planned at 0.87 to 1.31 of what they took.

    python benchmarks/plan_memory.py [--backend torch] [--only vit] [--batch 1]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from etude.backends.base import load
from etude.backends.inputs import loss_columns
from etude.backends.program.dims import evaluate
from etude.backends.program.serialize import program_from_json
from etude.backends.training import TrainingError
from etude.compiler.workflow import Stage
from etude.runtime.compiling import compile_file
from etude.runtime.processes import memory_bytes_of, process_bytes

Json = Any
EXAMPLES = Path(__file__).parents[1] / "examples"
BACKENDS = ("torch", "jax")
STEPS = 3
WITHIN = 1.5
LEFT_OUT = ("valid", "score", "patience", "resume", "watch", "weights", "order", "checkpoints", "more")


def trainings(folder: Path, only: str) -> Iterator[tuple[Path, Stage]]:
    """The trainings of all recipes, of those with the same programs and batch the first."""
    seen: set[str] = set()
    for path in sorted(folder.rglob("*.etude")):
        if only not in path.stem:
            continue
        workflow = compile_file(path).workflow
        assert workflow is not None, f"{path} has mistakes"
        for stage in workflow.stages.values():
            if stage.kind == "train":
                place = json.dumps([[step["loss"]["digest"] for step in stage.spec["steps"]], stage.spec["batch"]])
                if place not in seen:
                    seen.add(place)
                    yield path, stage


def shortened(spec: Mapping[str, Json], times: int) -> dict[str, Json]:
    """The spec of a few steps of a training, with nothing beside its steps."""
    made = {name: value for name, value in spec.items() if name not in LEFT_OUT}
    inputs = {name: value for name, value in spec["inputs"].items() if name == "on"}
    none = dict.fromkeys(("valid", "score", "patience"))
    return {
        **made,
        **none,
        "keep": "last",
        "inputs": inputs,
        "budget": {"steps": STEPS},
        "batch": spec["batch"] * times,
    }


def columns_for(spec: Mapping[str, Json], rng: np.random.Generator) -> dict[str, Any]:
    """Made-up rows of a batch."""
    wanted, found = loss_columns(spec), {}
    for player in spec["steps"]:
        for name, value in program_from_json(player["loss"]).sub.inputs:
            if name in wanted:
                shape = tuple(evaluate(dim, spec["batch"]) for dim in value.type.shape)
                dtype = np.dtype(value.type.dtype)
                found[name] = (rng.random(shape) if dtype.kind == "f" else np.zeros(shape)).astype(dtype)
    return found


def weights_for(spec: Mapping[str, Json], rng: np.random.Generator) -> dict[int, list[Any]]:
    """Made-up weights for the slots that other stages would give."""
    found: dict[int, dict[int, Any]] = {}
    for slot in spec["slots"]:
        source = slot["source"]
        if "input" in source:
            array = (0.05 * rng.standard_normal(slot["shape"])).astype(slot["dtype"])
            found.setdefault(source["input"], {})[source["index"]] = array
    nothing = np.zeros(0, "float32")
    return {at: [arrays.get(i, nothing) for i in range(max(arrays) + 1)] for at, arrays in found.items()}


def peak() -> int:
    """The largest size of this process so far."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def measured(spec: dict[str, Json], backend_name: str) -> dict[str, int]:
    """The largest size of this process when the framework is there, and when it has trained."""
    backend = load(backend_name, device="cpu", threads=1)
    backend.warm()
    before, rng = peak(), np.random.default_rng(0)
    on, ids = spec["inputs"]["on"], np.arange(spec["batch"], dtype=np.uint64)
    rows = ids if isinstance(on, int) else dict.fromkeys(on, ids)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.suppress(TrainingError),
    ):  # made-up rows may give no numbers
        given = columns_for(spec, rng), rows, None, weights_for(spec, rng)
        backend.train(spec, *given, Path(folder), lambda event: None, lambda: False)
    return {"before": before, "after": peak()}


def asked(spec: dict[str, Json], backend: str) -> dict[str, int] | None:
    """The same of another process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu", "NPROC": "1"}
    with tempfile.TemporaryDirectory() as cache:  # compiled code of an earlier time would hide what compiling takes
        done = subprocess.run(
            [sys.executable, __file__, "--one", backend],
            input=json.dumps(spec),
            capture_output=True,
            text=True,
            env={**environment, "XDG_CACHE_HOME": cache},
        )
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
        return None
    answer: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    parser.add_argument("--only", default="", help="recipes with this in their names")
    parser.add_argument("--batch", type=int, default=1, help="how many times as large a batch is")
    parser.add_argument("--folder", type=Path, default=EXAMPLES)
    parser.add_argument("--one", choices=BACKENDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(json.load(sys.stdin), options.one)))
        return
    worst = 1.0
    print(f"{'':56} {'training alone, MB':^27}   {'process, MB':^27}")
    print(f"{'':56} {'plan':>9} {'took':>9} {'ratio':>6}    {'plan':>9} {'took':>9} {'ratio':>6}")
    for path, stage in trainings(options.folder, options.only):
        for backend in options.backend or BACKENDS:
            spec = shortened(stage.spec, options.batch)
            found = asked(spec, backend)
            if found is None:
                continue
            own, whole = memory_bytes_of(spec, spec["batch"], backend), process_bytes(spec, spec["batch"], backend)
            took, name = found["after"] - found["before"], f"{path.stem} {stage.name}"[:48]
            print(
                f"{name:48} {backend:>6}  {own / 1e6:9.1f} {took / 1e6:9.1f} {own / max(took, 1):6.2f}    "
                f"{whole / 1e6:9.1f} {found['after'] / 1e6:9.1f} {whole / found['after']:6.2f}",
                flush=True,
            )
            worst = max(worst, whole / found["after"], found["after"] / whole)
    print(f"plans of processes are within a factor of {worst:.2f} of what they take")
    raise SystemExit(worst > WITHIN)


if __name__ == "__main__":
    main()
