"""How long `etude check` takes for a recipe of 10,000 lines, and until it refuses what would expand without an end.

Whole processes; the CPU time is what the machine's other work disturbs least. `python benchmarks/check_limits.py`.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from check_speed import recipe  # beside this file

EXPERIMENTS = 499
DIGITS = 'd = load("sklearn:digits")\n'


def doubled(first: str, step: str) -> str:
    """Forty definitions that each use the one before twice."""
    return first + "".join(step.format(i=i, j=i - 1) for i in range(1, 41))


FUNCTIONS = doubled("fn f0(x) = x + 1\n", "fn f{i}(x) = f{j}(f{j}(x))\n")
MODELS = doubled("model m0()(x) { return linear(64)(x) }\n", "model m{i}()(x) {{ return m{j}()(m{j}()(x)) }}\n")
BOMBS = {
    "10^9 stages": DIGITS
    + "a = [sample(d, 1%, seed = x) for x in 1..1000 for y in 1..1000 for z in 1..1000 if y > z]\n",
    "10,000 parentheses": "a = " + "(" * 10_000 + "1" + ")" * 10_000 + "\n",
    "2^40 calls": FUNCTIONS + "a = f40(1)\n",
    "2^40 operations": FUNCTIONS + DIGITS + "m = map(d, row => {x: f40(row.image)})\n",
    "2^40 models": MODELS + DIGITS + "m = finetune(flatten >> m40(), on = d)\n",
    "a list of 2^40": doubled("a0 = [1]\n", "a{i} = a{j} + a{j}\n"),
    "a text of 2^40": doubled('a0 = "x"\n', "a{i} = a{j} + a{j}\n"),
    "1..10**12": "a = [x for x in 1..10**12]\n",
    "10**10**10": "a = 10**10**10\n",
    "10^18 numbers": DIGITS + "m = map(d, row => {x: zeros([1000000, 1000000, 1000000])})\n",
}


def measure(folder: Path, text: str) -> tuple[float, float, str]:
    """Seconds of the processor and of the clock for one check, and its last line."""
    path = folder / "recipe.etude"
    path.write_text(text)
    before, started = _children(), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "etude", "check", str(path)], capture_output=True, text=True)
    told = (done.stdout.strip().splitlines() or [done.stderr.strip()])[0 if done.returncode else -1]
    return _children() - before, time.perf_counter() - started, told


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a line for each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = recipe(EXPERIMENTS)
        measure(folder, "a = 1\n")  # fills the caches
        for what, text in {f"{len(large.splitlines()):,} lines": large, **BOMBS}.items():
            cpu, wall, told = measure(folder, text)
            print(f"{what:20} {cpu:6.2f} s CPU {wall:6.2f} s wall  {told[-90:]}", flush=True)


if __name__ == "__main__":
    main()
