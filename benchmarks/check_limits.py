"""How long `etude check` takes for a recipe of 10,000 lines, and until it refuses what would expand without an end.

Whole processes; the CPU time is what the machine's other work disturbs least. `python benchmarks/check_limits.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from check_speed import recipe  # beside this file

EXPERIMENTS = 499
DIGITS = 'd = load("sklearn:digits")\n'


def doubled(first: str, step: str, count: int = 40) -> str:
    """Forty definitions that each use the one before, mostly twice."""
    return first + "".join(step.format(i=i, j=i - 1) for i in range(1, count + 1))


FUNCTIONS = doubled("fn f0(x) = x + 1\n", "fn f{i}(x) = f{j}(f{j}(x))\n")
MODELS = doubled("model m0()(x) { return linear(64)(x) }\n", "model m{i}()(x) {{ return m{j}()(m{j}()(x)) }}\n")
ONE = DIGITS + "net = flatten >> linear(10)\nfn one(s) = sample(d, 1%, seed = s)\n"
STAGES = {
    "10^9 stages": "a = [one(x) for x in 1..1000 for y in 1..1000 for z in 1..1000 if y > z]\n",
    "in functions": (
        "fn f(s) = [one(1000 * s + i) for i in 1..1000]\nfn g(x) = [f(1000 * x + i) for i in 1..1000]\n"
        "h = [g(y) for y in 1..1000]\n"
    ),
    "trainings in functions": (
        "fn f(s) = [finetune(net, on = d, seed = 1000 * s + i) for i in 1..1000]\n"
        "fn g(x) = [f(1000 * x + i) for i in 1..1000]\nh = [g(y) for y in 1..1000]\n"
    ),
    "bound ranges": "r = 1..1000\nh = [one(i + 1000 * j + 1000000 * k) for i in r for j in r for k in r]\n",
    "loops in loops": (
        "fn inner(x, i) = loop (y = x, j in 1..1000) { return sample(y, 99%, seed = i + j) }\n"
        "fn outer(k) = loop (x = d, i in 1..1000) { return inner(x, i + k) }\nh = [outer(k) for k in 1..1000]\n"
    ),
    "runs of runs": "h = runs(1..1000, s => runs(1..1000, t => runs(1..1000, u => one(s + 1000 * t + 1000000 * u))))\n",
    "a tree of lists": doubled("fn f0(s) = one(s)\n", "fn f{i}(s) = [f{j}(2 * s), f{j}(2 * s + 1)]\n") + "h = f40(1)\n",
    "a tree of records": doubled("fn f0(s) = one(s)\n", "fn f{i}(s) = {{a: f{j}(2 * s), b: f{j}(2 * s + 1)}}\n")
    + "h = f40(1)\n",
    "fields of records": (
        "all = [{a: i, b: i} for i in 1..1000]\n"
        "h = [[[one(p.a + q.b * 1000 + r.a * 1000000) for p in all] for q in all] for r in all]\n"
    ),
    "10^6 programs": "h = [[map(d, row => {x: row.image * (i + 1000 * j)}) for i in 1..1000] for j in 1..1000]\n",
}
NESTED = {
    "parentheses": "(" * 10_000 + "1" + ")" * 10_000,
    "brackets": "[" * 10_000 + "1" + "]" * 10_000,
    "braces": "{x: " * 10_000 + "1" + "}" * 10_000,
    "calls": "len(" * 10_000 + "1" + ")" * 10_000,
    "lambdas": "x => " * 10_000 + "1",
    "ifs": "if true then " * 5_000 + "1" + " else 2" * 5_000,
    "nots": "not " * 10_000 + "true",
    "a sum of 100,000": "1" + " + 1" * 100_000,
    "a chain of 20,000": "flatten" + " >> linear(8)" * 20_000,
    "20,000 fields": "r" + ".x" * 20_000,
    "an open string": '"' + "x" * 3_000_000,
    "100,000 open brackets": "(" * 100_000,
}
DOUBLING = {
    "a list of 2^40": doubled("a0 = [1]\n", "a{i} = a{j} + a{j}\n"),
    "a text of 2^40": doubled('a0 = "x"\n', "a{i} = a{j} + a{j}\n"),
    "records of 2^40": doubled("a0 = {x: 1}\n", "a{i} = {{l: a{j}, r: a{j}}}\n") + "b = a40 == a40\n",
    "lists of 2^40": doubled("a0 = [1]\n", "a{i} = [a{j}, a{j}]\n"),
    "a measured 2^40": DIGITS + doubled("a0 = measure(d, row => 1.0)\n", "a{i} = a{j} + a{j}\n"),
    "2^40 calls": FUNCTIONS + "a = f40(1)\n",
    "2^40 operations": FUNCTIONS + DIGITS + "m = map(d, row => {x: f40(row.image)})\n",
    "4^40 rounds of tensors": (
        doubled("fn f0(x) = x + 1\n", "fn f{i}(x) = loop (y = x, k in [1, 2, 3, 4]) {{ return f{j}(y) * k }}\n")
        + DIGITS
        + "m = map(d, row => {x: f40(row.image)})\n"
    ),
    "2^40 models": MODELS + DIGITS + "m = finetune(flatten >> m40(), on = d)\n",
    "10^12 layers": DIGITS
    + doubled(
        "model m0()(x) { return linear(64)(x) }\n",
        "model m{i}()(x) {{ return chain([m{j}() for _ in 1..10])(x) }}\n",
    )
    + "m = finetune(flatten >> m40(), on = d)\n",
    "100,000 layers": DIGITS + "m = finetune(flatten >> chain([linear(8) for _ in 1..100000]), on = d)\n",
}
SIZES = {
    "1..10**9": "a = [x for x in 1..10**9]\n",
    "10^6 sums": DIGITS + "m = measure(d, row => 1.0)\nh = [[m + i * 1000 + j for i in 1..1000] for j in 1..1000]\n",
    "10**10**10": "a = 10**10**10\n",
    "100,000!": "a = loop (x = 1, i in 1..100000) { return x * i }\n",
    "10^18 numbers": DIGITS + "m = map(d, row => {x: zeros([1000000, 1000000, 1000000])})\n",
    "5,000 calls deep": doubled("fn f0(x) = x\n", "fn f{i}(x) = f{j}(x)\n", 5_000) + "a = f5000(1)\n",
    "20,000 unknown names": "".join(f"a{i} = b{i}\n" for i in range(20_000)),
    "50,000 times one name": "a = 1\n" * 50_000,
}
BOMBS = {
    **{name: ONE + text for name, text in STAGES.items()},
    **{name: f"r = {{x: 1}}\na = {text}\n" for name, text in NESTED.items()},
    **DOUBLING,
    **SIZES,
}


def measure(folder: Path, text: str) -> tuple[float, float, float, str]:
    """Seconds of the processor and of the clock for one check, its megabytes, and what it says first."""
    path, told = folder / "recipe.etude", folder / "told.txt"
    path.write_text(text)
    started = time.perf_counter()
    with told.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "etude", "check", str(path)], stdout=out, stderr=out)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = told.read_text().strip().splitlines() or [f"exit code {process.returncode}"]
    line = lines[0] if process.returncode else lines[-1]
    return used.ru_utime + used.ru_stime, time.perf_counter() - started, used.ru_maxrss / 1024, line


def main() -> None:
    """Print a line for each, or for those whose names are given."""
    chosen = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = recipe(EXPERIMENTS)
        measure(folder, "a = 1\n")  # fills the caches
        for what, text in {f"{len(large.splitlines()):,} lines": large, **BOMBS}.items():
            if not chosen or what in chosen:
                cpu, wall, size, told = measure(folder, text)
                print(f"{what:24} {cpu:6.2f} s CPU {wall:6.2f} s wall {size:5.0f} MB  {told[-110:]}", flush=True)


if __name__ == "__main__":
    main()
