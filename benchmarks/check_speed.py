"""How long `etude check` takes as a whole process, on a recipe of 300 lines with about 60 stages.

The recipe is written to a temporary file and checked again and again, after one check that fills the caches. The
minimum of the CPU time is what the machine's other work disturbs least. Run it with compiled modules, as `make setup`
leaves them: `python benchmarks/check_speed.py`.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REPEATS = 15
EXPERIMENTS = 14
IMPORTS = (
    "import etude.runtime.cli.main, etude.runtime.cli.commands.check, etude.runtime.compiling, etude.runtime.sources"
)
HEAD = """\
# Which widths and losses suit small pictures: one experiment after another, each with a model of its own.
use std.vision

param labels: fraction = 50%           # share of the training labels that may be used
param budget: duration = 20epochs

digits = load("sklearn:digits") |> split(train = 60%, valid = 20%, test = 20%, stratify = "label")
few    = digits.train |> sample(labels, stratify = "label")

fn acc(m) = accuracy(m, on = digits.test)

# The loss of a classifier whose labels are a little uncertain:
# part of the weight goes to all classes alike.
fn smoothed(logits, label, share) {
  right = cross_entropy(logits, label)
  even  = -mean(log_softmax(logits, axis = -1))
  return (1 - share) * right + share * even
}
"""
EXPERIMENT = """
# --- experiment {i} ---
# A network of width {width}, with a shortcut around its second layer.
model Shortcut{i}(width: int = {width})(x: Tensor) {{
  first  = linear(width)
  second = linear(width)
  h      = relu(first(x))
  return h + second(h)
}}

net{i}     = flatten >> Shortcut{i}() >> linear(10)
conv{i}    = convnet(widths = [{width}, 16], out = 32) >> linear(10)
learned{i} = train(on = few, update = {{net: net{i}}}) {{
  loss      = ({{image, label}}) => smoothed(net{i}(image), label, share = {share})
  optimizer = adamw(lr = 1e-3, weight_decay = 1e-4)
  batch     = 64
  budget    = budget
}}
tuned{i} = finetune(conv{i}, on = few, valid = digits.valid, budget = budget)
"""

TAIL = """\

expect mean(scores.tuned) >= mean(scores.learned) - 5% because "convolutions suit pictures"

report {
  accuracy = table(scores)
  curves   = plot(tuned0.history, tuned1.history, y = "valid.accuracy")
}
"""


def recipe(experiments: int = EXPERIMENTS) -> str:
    """The text of a recipe as people write them: functions, models, comments, a claim and a report."""
    parts = [EXPERIMENT.format(i=i, width=8 + i, share=f"0.{i + 1:02}") for i in range(experiments)]
    rows = [f"  {{tuned: acc(tuned{i}), learned: acc(learned{i}.net)}},\n" for i in range(experiments)]
    return "".join([HEAD, *parts, "\nscores = [\n", *rows, "]\n", TAIL])


def measure(command: Sequence[str], repeats: int = REPEATS) -> tuple[list[float], list[float]]:
    """The CPU time (user and system) and the wall time of each of several runs of a process, in milliseconds."""
    cpu, wall = [], []
    for _ in range(repeats):
        before, started = _children(), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall.append(1000 * (time.perf_counter() - started))
        cpu.append(1000 * (_children() - before))
    return cpu, wall


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the times of a check, and the part of them that goes to starting Python and to imports."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "experiments.etude"
        path.write_text(recipe())
        check = [sys.executable, "-m", "etude", "check", str(path)]
        told = subprocess.run(check, check=True, capture_output=True, text=True).stdout
        print(f"{told.strip().rpartition('/')[2]}, {len(recipe().splitlines())} lines")
        cpu, wall = measure(check)
        imports, _ = measure([sys.executable, "-c", IMPORTS])
        bare, _ = measure([sys.executable, "-c", "pass"])
    for name, times in (("CPU", cpu), ("wall", wall)):
        print(f"{name:5} minimum {min(times):4.0f} ms, median {statistics.median(times):4.0f} ms")
    share = min(imports) / min(cpu)
    print(
        f"of the CPU time, Python and imports take {min(imports):.0f} ms ({share:.0%}), Python alone {min(bare):.0f} ms"
    )


if __name__ == "__main__":
    main()
