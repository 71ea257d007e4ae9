"""What checkpoints cost a training: the digits convnet and the small ViT on PyTorch and JAX, with them and without.

The floor of 30 s between two checkpoints is taken away, so that only their measured cost says how seldom they are: the
worst case, a training that would pay as much for as long as it lasts. At most 3 % of the time is the promise, looked at
in two ways. From inside: the seconds that the keeper counts for itself, in the loop and in the thread that writes, and
what both threads compute in them, which no other load can change. From outside: the same training with checkpoints and
without, in many short pairs that take turns at being first; of the ratios of their times, by the processor (all threads
of the process) and by the clock, the mean without the outer quarters, and in brackets where it lies with 95 %
confidence, drawn by bootstrap. Between the pairs stand others, both without, which say how far off such a mean is by
chance alone. On a busy machine look at the processor's.

It exits with 1 where the promise is broken beyond doubt: from inside, or from outside with all of the interval. The
default of 24 pairs takes about five minutes.

    python benchmarks/checkpoint_cost.py [--pairs 24] [--seconds 1.2] [--threads 1] [--model convnet] [--backend torch]
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import digits
import numpy as np
from step_speed import MODELS, compiled_spec

from etude.backends.base import load
from etude.backends.inputs import TrainInputs
from etude.backends.modules import load_source
from etude.backends.snapshots import Snapshot
from etude.backends.training import train_session
from etude.runtime.checkpoints.folder import CheckpointFolder
from etude.runtime.checkpoints.keeper import Pace, StepKeeper

BATCH, PROBE_STEPS = 64, 40
PROMISE = 0.03
NAMES = ("cost", "blocked")


class Run(NamedTuple):
    """One training: its seconds by the clock and by the processor, those that checkpoints took, those that the loop
    waited for them, those that both threads computed for them, and their number."""

    seconds: float
    processor: float
    cost: float = 0.0
    blocked: float = 0.0
    used: float = 0.0
    count: int = 0


class Series:
    """Trainings with checkpoints that count as parts of one long one: how long it is, and what keeping has cost."""

    seconds = cost = expected = 0.0


class Timed(StepKeeper):
    """A keeper that notes how long the loop waits for it, and goes on with the accounts of a series."""

    def __init__(self, folder: CheckpointFolder, series: Series, emit: Callable[[Any], None]) -> None:
        super().__init__(lambda: folder, Pace(seconds=0.0), emit)
        self.blocked, self.used, self.series = 0.0, 0.0, series
        if series.expected:
            now = time.perf_counter()
            self.cost, self._expected, self._begun = series.cost, series.expected, now - series.seconds
            self._plan_next(now)

    def keep(self, take: Callable[[], Snapshot | None], *, wait: bool = False) -> bool:
        start, used = time.perf_counter(), time.thread_time()
        try:
            return super().keep(take, wait=wait)
        finally:
            self.blocked += time.perf_counter() - start
            self.used += time.thread_time() - used

    def _write(self, snapshot: Snapshot, started: float) -> None:
        used = time.thread_time()
        super()._write(snapshot, started)
        self.used += time.thread_time() - used

    def end(self, seconds: float) -> float:
        """Add a training of so many seconds to the series; what keeping cost in it."""
        own, self.series.cost = self.cost - self.series.cost, self.cost
        self.series.seconds += seconds
        self.series.expected = self._expected
        return own


def opened_session(backend_name: str, spec: dict[str, Any], threads: int) -> Any:
    """A session of the generated loop, as a worker opens it."""
    backend = load(backend_name, device="cpu", threads=threads)
    emit = importlib.import_module(f"etude.backends.{backend_name}.emit")
    sessions = importlib.import_module(f"etude.backends.{backend_name}.train")
    emitted, (images, labels) = emit.emit_train(spec), digits.load()
    inputs = TrainInputs.of(spec, {"image": images, "label": labels}, None, {})
    make = getattr(sessions, f"{backend_name.capitalize()}Session")
    place = backend.device if backend_name == "torch" else backend.places
    return make(load_source(emitted.source), emitted.slots, inputs, place)


def trained(session: Any, spec: dict[str, Any], series: Series | None = None) -> Run:
    """Train for the steps of the spec; with checkpoints where it is part of a series."""
    events: list[Any] = []
    ids = np.arange(len(digits.load()[1]), dtype=np.uint64)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        root = Path(name)
        (root / "tmp").mkdir()
        folder = CheckpointFolder(root / "partial", root / "tmp", {})
        keeper = None if series is None else Timed(folder, series, events.append)
        start, used = time.perf_counter(), time.process_time()
        train_session(session, spec, ids, {}, root, lambda event: None, lambda: False, keeper=keeper)
        if keeper is not None:
            keeper.close()
        seconds, processor = time.perf_counter() - start, time.process_time() - used
        if keeper is None:
            return Run(seconds, processor)
        return Run(seconds, processor, keeper.end(seconds), keeper.blocked, keeper.used, len(events))


class Share(NamedTuple):
    """How much longer the first of each pair took, and the ends of a 95 % interval."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:+.1%} [{self.low:+.1%}, {self.high:+.1%}]"


def ratios(kept: Sequence[Run], plain: Sequence[Run], name: str) -> Share:
    """The mean of paired ratios without the outer quarters, and its bootstrap interval."""
    found = np.array([getattr(a, name) / getattr(b, name) - 1 for a, b in zip(kept, plain, strict=True)])
    drawn = np.random.default_rng(0).integers(0, len(found), (2_000, len(found)))
    low, high = np.quantile([_trimmed(found[places]) for places in drawn], [0.025, 0.975])
    return Share(_trimmed(found), float(low), float(high))


def _trimmed(values: np.ndarray[Any, Any]) -> float:
    cut = len(values) // 4
    return float(np.sort(values)[cut : len(values) - cut].mean())


def compare(backend: str, model: str, *, pairs: int, seconds: float, threads: int) -> tuple[str, float, Share]:
    """The lines of the result, and the share of the time from inside and by the processor from outside."""
    probe = compiled_spec(model, BATCH, PROBE_STEPS)
    session = opened_session(backend, probe, threads)
    trained(session, probe)
    steps = int(seconds * PROBE_STEPS / trained(session, probe).seconds)
    spec, series = {**probe, "budget": {"steps": steps}}, Series()
    for _ in range(3):  # what the first checkpoint takes longer, a long training pays once
        trained(session, spec, series)
    kept, plain, others = [], [], []
    for pair in range(pairs):
        for with_checkpoints in (pair % 2 == 0, pair % 2 == 1):
            run = trained(session, spec, series if with_checkpoints else None)
            (kept if with_checkpoints else plain).append(run)
        if pair % 3 == 2:
            others += [trained(session, spec) for _ in range(2)]
    share, blocked = (sum(getattr(run, name) for run in kept) / sum(r.seconds for r in kept) for name in NAMES)
    count = sum(run.count for run in kept)
    each = sum(run.cost for run in kept) / max(count, 1) * 1e3
    counts = f"{steps} steps, {count / pairs:.1f} checkpoints of {each:.1f} ms"
    clock, processor = (ratios(kept, plain, name) for name in ("seconds", "processor"))
    used = sum(run.used for run in kept) / sum(run.processor for run in kept)
    inside = f"inside {share:.2%}, of it in the loop {blocked:.2%}; of the processor's time {used:.2%}"
    outside = f"outside, {pairs} pairs: processor {processor}, clock {clock}"
    chance = f"by chance, {len(others) // 2} pairs: processor {ratios(others[::2], others[1::2], 'processor')}"
    return f"{backend:5} {model:8} {counts}\n    {inside}\n    {outside}\n    {chance}", share, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=1.2, help="how long a training takes, about")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--backend", choices=("torch", "jax"), action="append")
    options = parser.parse_args()
    shares, outside = [], []
    for backend in options.backend or ("torch", "jax"):
        for model in options.model or MODELS:
            lines, share, more = compare(
                backend, model, pairs=options.pairs, seconds=options.seconds, threads=options.threads
            )
            print(lines, flush=True)
            shares.append(share)
            outside.append(more)
    mean = sum(each.middle for each in outside) / len(outside)
    print(
        f"at most {max(shares):.2%} from inside; {mean:+.1%} from outside in the mean, and with confidence at least "
        f"{max(each.low for each in outside):+.1%} and at most {max(each.high for each in outside):+.1%} of each; "
        f"promised is at most {PROMISE:.0%}"
    )
    raise SystemExit(max(shares) > PROMISE or any(each.low > PROMISE for each in outside))


if __name__ == "__main__":
    main()
