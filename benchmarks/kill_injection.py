"""Kill a run again and again, and see that the next one comes to the same results.

Every lasting file operation of a run (create, write, fsync, rename, link, mkdir, remove) is counted over its scheduler
and its workers. `--every` kills at each of them: the worker that is at it, and the whole run. `--random N` kills the
scheduler, a worker or both at random times. By default some of the operations are sampled. After each kill:

- nothing unfinished can be seen: every object hashes to its name, every record is whole and so are its objects;
- the next run executes no stage that was recorded, makes nothing anew that was damaged, and ends like one that was
  never killed, down to the hash of every output.

`--training` takes a recipe with a training that keeps its state every two steps; it needs PyTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import etude.runtime.report.page
import etude.runtime.runner  # noqa: F401  # so that a fork of this process starts at once
from etude.runtime.cli.main import main
from etude.runtime.store import Store, injection
from etude.runtime.store.inspection import verify_store

DATA = """data  = load("numbers.csv") |> split(train = 60%, test = 40%)
few   = data.train |> sample(50%)
means = {few: measure(few, row => row.x), all: measure(data.train, row => row.x)}
expect means.few > 1 because "numbers grow"
report { table = table([means])  few = means.few }
"""
TRAINING = """digits = load("sklearn:digits") |> sample(10%) |> split(train = 80%, test = 20%)
tuned  = finetune(flatten >> mlp([8, 10]), on = digits.train, budget = 6steps)
score  = accuracy(tuned, on = digits.test)
expect score > 0% because "it counts"
"""
LOGS = {"events.jsonl", "workers.log", "running.json", "error.txt"}
ENDS = {".html": "</html>", ".svg": "</svg>"}
Json = Any


class Trial:
    """A folder with a recipe, in which runs are killed and followed by one that is not."""

    def __init__(self, folder: Path, recipe: str) -> None:
        self.folder, self.trace, self.answer = folder, folder / "trace", folder / "answer.json"
        (folder / "recipe.etude").write_text(recipe)
        rows = "".join(f"{number / 2},{number % 2}\n" for number in range(40))
        (folder / "numbers.csv").write_text("x,label\n" + rows)
        self.kinds: Counter[str] = Counter()
        started = time.perf_counter()
        self.expected = self.whole_run(f"count:0:{self.trace}")
        self.seconds = time.perf_counter() - started
        self.operations = injection.read_trace(self.trace)
        self.files = dict(self._files())
        assert self.expected["executed"] == len(self.expected["stages"]), "the first run had to do everything"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def reached(self) -> int:
        """The kills that found somebody to kill."""
        return sum(count for name, count in self.kinds.items() if name != "not reached")

    def whole_run(self, setting: str | None = None) -> Json:
        """Run to the end; what `--json` says."""
        code = ended(self.start(setting))
        assert code == 0, f"the run ended with {code}"
        return json.loads(self.answer.read_text())

    def start(self, setting: str | None = None) -> int:
        """Fork a process that runs the recipe; its number."""
        self.trace.unlink(missing_ok=True)
        child = os.fork()
        if child:
            return child
        with contextlib.suppress(BaseException):
            os.chdir(self.folder)
            os.setpgrp()
            os.environ["ETUDE_CHECKPOINT_STEPS"] = "2"
            if setting is not None:
                os.environ[injection.VARIABLE] = setting
                injection.before = injection.armed(setting)
            with (self.folder / "errors.txt").open("w") as errors:
                os.dup2(errors.fileno(), 2)
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                code = main(["run", "recipe.etude", "--store", "store", "--jobs", "1", "--backend", "torch", "--json"])
            self.answer.write_text(out.getvalue())
            os._exit(code)
        os._exit(99)

    def killed(self, begin: Callable[[], str]) -> None:
        """One trial on an empty store: `begin` starts a run, kills it and says what happened."""
        shutil.rmtree(self.store, ignore_errors=True)
        self.kinds[begin()] += 1
        recorded = self._inspect()
        after = self.whole_run()
        executed = {stage["key"] for stage in after["stages"] if stage["action"] == "run"}
        assert not executed & recorded, "a stage with a record was executed again"
        assert results(after) == results(self.expected), "other results than without a kill"
        assert self._warnings(after["run"]) == [], "something had to be made anew"

    def at_operation(self, kind: str, number: int) -> str:
        """Run, and kill at the operation with this number."""
        code = ended(self.start(f"{kind}:{number}:{self.trace}"))
        if code == 0:
            return "not reached"  # how many events there are depends on time
        assert code in (-signal.SIGKILL, 4), f"the run ended with {code}"
        who, _, operation, _ = injection.read_trace(self.trace)[number - 1]
        return f"{'worker' if kind == 'kill' and who == 'worker' else 'run'} at {operation}"

    def at_time(self, after: float, whom: str) -> str:
        """Run, and kill after some time: the scheduler, a worker, or both."""
        child = self.start()
        time.sleep(after)
        workers = children(child)
        victims = {"run": [child], "worker": workers or [child], "both": [child, *workers]}[whom]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        code = ended(child)
        assert code in (0, -signal.SIGKILL, 4), f"the run ended with {code}"
        return f"{whom} at a random time" if code else "not reached"

    def _inspect(self) -> set[str]:
        """See that nothing unfinished can be seen; the keys that have a record."""
        if not (self.store / "format").exists():
            return set()
        store = Store(self.store)
        found = verify_store(store)
        assert found.is_sound, f"not sound: {found}"
        for name, digest in self._files():
            assert digest == self.files.get(name, digest), f"{name} is not whole"
        return set(store.records.all_keys())

    def _files(self) -> Iterator[tuple[str, str]]:
        """The files of runs whose content is the same in every run, by their names, with their hashes."""
        for run in (self.store / "runs").iterdir():
            for path in (path for path in run.rglob("*") if path.is_file() and path.name not in LOGS):
                name = path.relative_to(run).as_posix()
                if name.endswith(".json"):
                    json.loads(path.read_bytes())
                elif path.suffix in ENDS:
                    assert path.read_text().rstrip().endswith(ENDS[path.suffix]), f"{name} is not whole"
                elif not name.startswith(("tensorboard/", "stages/")):
                    yield name, hashlib.sha256(path.read_bytes()).hexdigest()

    def _warnings(self, run: str) -> list[str]:
        lines = (self.store / "runs" / run / "events.jsonl").read_text().splitlines()
        return [event["message"] for event in map(json.loads, lines) if event["kind"] == "stage-warning"]


def results(run: Json) -> Json:
    """What has to be the same, however a run came to its end."""
    outputs = {stage["name"]: stage["outputs"] for stage in run["stages"]}
    models = {name: model["hash"] for name, model in run["models"].items()}
    return {"outputs": outputs, "models": models, "claims": run["claims"], "metrics": run["metrics"]}


def ended(pid: int) -> int:
    """Wait for a process; its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has just ended
        return []


def planned(trial: Trial, options: argparse.Namespace) -> list[Callable[[], str]]:
    """The kills that were asked for."""
    points = [("kill-run", number) for number in range(1, len(trial.operations) + 1)]
    points += [("kill", number) for number, (who, *_) in enumerate(trial.operations, 1) if who == "worker"]
    choose = random.Random(options.seed)
    if not options.every:
        points = sorted(choose.sample(points, min(options.sample, len(points))), key=lambda point: point[1])
    return [lambda kind=kind, number=number: trial.at_operation(kind, number) for kind, number in points]


def at_random(trial: Trial, options: argparse.Namespace) -> Iterator[Callable[[], str]]:
    """Kills at random times, for as long as they are asked for: some find nobody to kill."""
    choose = random.Random(options.seed)
    while True:
        after, whom = 0.7 * choose.random() * trial.seconds, choose.choice(["run", "worker", "both"])
        yield lambda after=after, whom=whom: trial.at_time(after, whom)


def run_trials(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), TRAINING if options.training else DATA)
        by = Counter(f"{who} {operation}" for who, _, operation, _ in trial.operations)
        print(f"{len(trial.operations)} operations: {', '.join(f'{count} {name}' for name, count in by.most_common())}")
        started = time.perf_counter()
        for kill in planned(trial, options):
            trial.killed(kill)
        wanted = trial.reached + options.random
        for kill in at_random(trial, options):
            if trial.reached == wanted:
                break
            trial.killed(kill)
        reached = trial.reached
        print(
            f"{reached} kills, {reached} equal results, in {time.perf_counter() - started:.0f} s (seed {options.seed})"
        )
        print(f"killed: {', '.join(f'{count} {name}' for name, count in trial.kinds.most_common())}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", action="store_true", help="kill at every operation")
    parser.add_argument("--sample", type=int, default=20, help="kill at so many of them (default: 20)")
    parser.add_argument("--random", type=int, default=0, help="kill at so many random times")
    parser.add_argument("--seed", type=int, default=0, help="what to choose with")
    parser.add_argument("--training", action="store_true", help="a recipe with a training")
    run_trials(parser.parse_args())
    sys.exit(0)
