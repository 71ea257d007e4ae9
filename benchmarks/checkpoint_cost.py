"""What checkpoints cost a training: the digits convnet and the small ViT on PyTorch and JAX, with them and without.

Runs take turns. The floor of 30 s between two checkpoints is taken away, so that only their measured cost says how
seldom they are: the worst case, a training that would pay as much for as long as it lasts. What counts is the share of
the time that goes into them, in the loop and in the thread that writes: at most 3 % is the promise.

    python benchmarks/checkpoint_cost.py [--pairs 3] [--seconds 8] [--threads 1] [--model convnet] [--backend torch]
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import tempfile
import time
from collections.abc import Callable
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


class Run(NamedTuple):
    """One training: its seconds, those that checkpoints took, those that the loop waited for them, and their number."""

    seconds: float
    cost: float
    blocked: float
    count: int


class Timed(StepKeeper):
    """A keeper that notes how long the loop waits for it."""

    blocked = 0.0

    def keep(self, take: Callable[[], Snapshot | None], *, wait: bool = False) -> None:
        start = time.perf_counter()
        super().keep(take, wait=wait)
        self.blocked += time.perf_counter() - start


def opened_session(backend_name: str, spec: dict[str, Any], threads: int) -> Any:
    """A session of the generated loop, as a worker opens it."""
    backend = load(backend_name, device="cpu", threads=threads)
    emit = importlib.import_module(f"etude.backends.{backend_name}.emit")
    sessions = importlib.import_module(f"etude.backends.{backend_name}.train")
    emitted, (images, labels) = emit.emit_train(spec), digits.load()
    inputs = TrainInputs.of(spec, {"image": images, "label": labels}, None, {})
    make = getattr(sessions, f"{backend_name.capitalize()}Session")
    return make(load_source(emitted.source), emitted.slots, inputs, backend.device)


def trained(session: Any, spec: dict[str, Any], *, with_checkpoints: bool) -> Run:
    """Train for the steps of the spec."""
    events: list[Any] = []
    ids = np.arange(len(digits.load()[1]), dtype=np.uint64)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        root = Path(name)
        (root / "tmp").mkdir()
        folder = CheckpointFolder(root / "partial", root / "tmp", {})
        keeper = Timed(lambda: folder, Pace(seconds=0.0), events.append) if with_checkpoints else None
        start = time.perf_counter()
        train_session(session, spec, ids, {}, root, lambda event: None, lambda: False, keeper=keeper)
        if keeper is None:
            return Run(time.perf_counter() - start, 0.0, 0.0, 0)
        keeper.close()
        return Run(time.perf_counter() - start, keeper.cost, keeper.blocked, len(events))


def compare(backend: str, model: str, *, pairs: int, seconds: float, threads: int) -> tuple[str, float]:
    """A line of the result, and the share of the time."""
    probe = compiled_spec(model, BATCH, PROBE_STEPS)
    session = opened_session(backend, probe, threads)
    trained(session, probe, with_checkpoints=False)
    steps = int(seconds * PROBE_STEPS / trained(session, probe, with_checkpoints=False).seconds)
    spec = {**probe, "budget": {"steps": steps}}
    kept, plain = [], []
    for pair in range(pairs):
        for with_checkpoints in (pair % 2 == 0, pair % 2 == 1):
            run = trained(session, spec, with_checkpoints=with_checkpoints)
            (kept if with_checkpoints else plain).append(run)
    share, blocked = (
        statistics.median(getattr(run, name) / run.seconds for run in kept) for name in ("cost", "blocked")
    )
    ratio = statistics.median(a.seconds / b.seconds for a, b in zip(kept, plain, strict=True))
    each = statistics.median(run.cost / run.count for run in kept) * 1e3
    counts = f"{steps} steps, {statistics.median(run.count for run in kept):.0f} checkpoints of {each:.1f} ms"
    shares = f"share {share:.2%}, in the loop {blocked:.2%}, with / without {ratio:.3f}"
    return f"{backend:5} {model:8} {counts}: {shares}", share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long a training takes, about")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--backend", choices=("torch", "jax"), action="append")
    options = parser.parse_args()
    shares = []
    for backend in options.backend or ("torch", "jax"):
        for model in options.model or MODELS:
            line, share = compare(backend, model, pairs=options.pairs, seconds=options.seconds, threads=options.threads)
            print(line, flush=True)
            shares.append(share)
    print(f"the largest share is {max(shares):.2%}; promised is at most {PROMISE:.0%}")
    raise SystemExit(max(shares) > PROMISE)


if __name__ == "__main__":
    main()
