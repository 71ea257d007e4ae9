"""Compare whole processes from cold: `etude run` of a recipe in a new store with the best script by hand.

The convnet trains on scikit-learn's digits for 20 epochs, the GPT on the bytes of Python's own sources for 60 steps: as
many rows, batches and steps, the same sizes and optimizer; the scripts read the loss once, at the end. Processes take
turns, and the ratio etude / by hand of the medians counts: at most 1.1 is the aim. All runs of Etude have a new store:

- "etude": on a machine where Etude was run before, but JAX has not yet compiled this training;
- "first": the very first run there: the parser's tables and matplotlib's list of fonts are made, too, once for good;
- "again": with what JAX has compiled before, as when only data or numbers change.

On two idle cores with two threads, seconds by hand / etude (2 pairs, the very first run behind it): convnet 5.27 / 3.75
(0.71x, 0.81x) on PyTorch and 6.32 / 4.80 (0.76x, 0.83x) on JAX; GPT on PyTorch 9.32 / 9.91 (1.06x, 1.04x). Before
drawing was imported while the worker imports its framework, GPT 1.10x on PyTorch, 1.03x on JAX. Before
stages went to the worker that was importing the framework, the processor time of the convnet on PyTorch was 8.4 s
against 5.8 by hand.

    python benchmarks/cold_process.py [--pairs 3] [--threads 2] [--work convnet] [--backend torch]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
LENGTH, ROWS = 129, 2000


def write_text(file: Path) -> None:
    """Bytes of Python's own sources as rows (2000, 129) of ids."""
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = b"".join(source.read_bytes() for source in sources)[: ROWS * LENGTH]
    np.savez(file, ids=np.frombuffer(text, np.uint8).reshape(ROWS, LENGTH).astype(np.int32))


def seconds(command: list[str], folder: Path, cache: Path, threads: int) -> tuple[float, float]:
    """How long a process takes, and how much of processors, with all that it starts."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": str(threads)}
    for name in ("JAX_COMPILATION_CACHE_DIR", "ETUDE_SMOKE_STEPS"):
        environment.pop(name, None)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(work: str, backend: str, pairs: int, threads: int) -> None:
    found: dict[str, list[tuple[float, float]]] = {"by hand": [], "etude": [], "first": [], "again": []}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for pair in range(pairs + 1):
            folder = root / str(pair)
            folder.mkdir()
            write_text(folder / "text.npz")
            shutil.copy(HERE / "recipes" / f"{work}.etude", folder)
            script = HERE / "scripts" / f"{work}_{backend}.py"
            run = [sys.executable, "-P", "-m", "etude", "run", f"{work}.etude", "--backend", backend]
            commands = {"by hand": [sys.executable, str(script), str(threads)]}
            commands |= {kind: [*run, "--store", kind] for kind in ("etude", "first", "again")}
            for kind, command in commands.items():
                cache = (folder if kind == "first" else root) / f"cache-{kind}"
                if kind == "etude":
                    for compiled in (cache / "etude").glob("xla-*"):
                        shutil.rmtree(compiled)
                took = seconds(command, folder, cache, threads)
                if pair:  # the first of each reads all files from disk
                    found[kind].append(took)
    walls = {kind: statistics.median(wall for wall, _ in times) for kind, times in found.items()}
    work_done = {kind: statistics.median(cpu for _, cpu in times) for kind, times in found.items()}
    print(f"{work:8} {backend:6}", end="")
    for kind, wall in walls.items():
        ratio = "" if kind == "by hand" else f" {wall / walls['by hand']:5.2f}x"
        print(f"  {kind} {wall:6.2f} s{ratio} (cpu {work_done[kind]:6.2f} s)", end="")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--work", nargs="*", default=["convnet", "gpt"])
    parser.add_argument("--backend", nargs="*", default=["torch", "jax"])
    options = parser.parse_args()
    for work in options.work:
        for backend in options.backend:
            compare(work, backend, options.pairs, options.threads)


if __name__ == "__main__":
    main()
