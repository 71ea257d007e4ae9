"""What checkpoints cost a training: the digits convnet and the small ViT on PyTorch and JAX, with them and without.

The floor of 30 s between two checkpoints is taken away, so that only their measured cost says how seldom they are: the
worst case, a training that would pay as much for as long as it lasts. At most 3 % of the time is the promise, looked at
in two ways. From inside: the seconds that the keeper counts for itself, in the loop and in the thread that writes. From
outside: the same training with checkpoints and without, in pairs that take turns at being first; of the ratios of their
times, by the clock and by the processor, the median, and in brackets the middle half. One more pair, both without, says
what a ratio can be by chance. On a busy machine look at the processor's.

    python benchmarks/checkpoint_cost.py [--pairs 5] [--seconds 8] [--threads 1] [--model convnet] [--backend torch]
"""

from __future__ import annotations

import argparse
import importlib
import statistics
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


class Run(NamedTuple):
    """One training: its seconds by the clock and by the processor, those that checkpoints took, those that the loop
    waited for them, and their number."""

    seconds: float
    processor: float
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
        start, used = time.perf_counter(), time.process_time()
        train_session(session, spec, ids, {}, root, lambda event: None, lambda: False, keeper=keeper)
        if keeper is not None:
            keeper.close()
        times = time.perf_counter() - start, time.process_time() - used
        return Run(*times, 0.0, 0.0, 0) if keeper is None else Run(*times, keeper.cost, keeper.blocked, len(events))


def ratios(kept: Sequence[Run], plain: Sequence[Run], name: str) -> tuple[float, str]:
    """How much longer the first of each pair took: the median, and a text with the middle half."""
    found = sorted(getattr(a, name) / getattr(b, name) - 1 for a, b in zip(kept, plain, strict=True))
    low, middle, high = (float(each) for each in np.quantile(found, [0.25, 0.5, 0.75]))
    return middle, f"{middle:+.1%} [{low:+.1%}, {high:+.1%}]"


def compare(backend: str, model: str, *, pairs: int, seconds: float, threads: int) -> tuple[str, float, float]:
    """The lines of the result, and the share of the time from inside and by the processor from outside."""
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
    chance, _ = ratios([trained(session, spec, with_checkpoints=False)], [plain[-1]], "processor")
    share, blocked = (
        statistics.median(getattr(run, name) / run.seconds for run in kept) for name in ("cost", "blocked")
    )
    each = statistics.median(run.cost / run.count for run in kept) * 1e3
    counts = f"{steps} steps, {statistics.median(run.count for run in kept):.0f} checkpoints of {each:.1f} ms"
    clock, processor = ratios(kept, plain, "seconds")[1], ratios(kept, plain, "processor")
    inside = f"inside {share:.2%}, of it in the loop {blocked:.2%}"
    outside = f"outside, {pairs} pairs: clock {clock}, processor {processor[1]}, by chance {chance:+.1%}"
    return f"{backend:5} {model:8} {counts}\n    {inside}\n    {outside}", share, processor[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long a training takes, about")
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
    print(f"at most {max(shares):.2%} from inside, {max(outside):+.1%} from outside; promised is at most {PROMISE:.0%}")
    raise SystemExit(max(shares) > PROMISE)


if __name__ == "__main__":
    main()
