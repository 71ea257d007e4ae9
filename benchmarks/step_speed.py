"""Compare generated training loops with hand-written ones: the digits convnet and the small ViT, on PyTorch and JAX.

Both loops train the same architecture on the same data with the same batch, optimizer and threads; the generated one
is the whole loop of a `train` stage, with its history and its checks. They take turns, and the median over the pairs
of the ratio generated / hand-written is what counts: at most 1.05 is the aim.

    python benchmarks/step_speed.py [--pairs 7] [--threads 1] [--model convnet] [--backend torch] [--clock cpu]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import digits
import numpy as np

from etude.backends.base import load
from etude.backends.inputs import TrainInputs
from etude.backends.modules import load_source
from etude.backends.training import train_session
from etude.runtime.compiling import compile_text

STEPS = {"convnet": {64: 150, 256: 50}, "vit": {64: 40, 256: 10}}
MODELS = {
    "convnet": "net = convnet(widths = [32, 64], out = 64) >> linear(10)",
    "vit": """
model patches(dim: int, size: int)(image) {
  grid = conv2d(dim, kernel = size, stride = size)(image)
  return rearrange(grid, "b h w d -> b (h w) d")
}

model block(heads: int, ratio: int = 4)(x) {
  dim = x.shape[-1]
  a = x + self_attention(heads)(layer_norm()(x))
  return a + mlp([ratio * dim, dim], act = gelu)(layer_norm()(a))
}

model tiny_vit(depth: int, dim: int, heads: int, patch: int)(image) {
  tokens   = patches(dim, patch)(image)
  position = weight([tokens.shape[1], dim], init = normal_init(0.02))
  blocks   = [block(heads) for _ in 1..depth]
  return mean(layer_norm()(chain(blocks)(tokens + position)), axis = 1)
}

net = tiny_vit(depth = 4, dim = 64, heads = 4, patch = 2) >> linear(10)
""",
}
RECIPE = """
use std.vision
digits = load("sklearn:digits")
{model}
tuned = finetune(net, on = digits, batch = {batch}, budget = {steps}steps)
report {{ accuracy = accuracy(tuned, on = digits) }}
"""


def compiled_spec(model: str, batch: int, steps: int) -> dict[str, Any]:
    """The spec of the train stage of a recipe."""
    text = RECIPE.format(model=MODELS[model], batch=batch, steps=steps)
    compilation = compile_text(text, f"{model}.etude", Path.cwd())
    assert compilation.workflow is not None, [diagnostic.message for diagnostic in compilation.diagnostics]
    (stage,) = (stage for stage in compilation.workflow.stages.values() if stage.kind == "train")
    return dict(stage.spec)


def generated_loop(backend_name: str, spec: dict[str, Any], threads: int) -> Callable[[], None]:
    """Run a train stage's loop over a session that stays, as a worker runs it."""
    backend = load(backend_name, device="cpu", threads=threads)
    emit = importlib.import_module(f"etude.backends.{backend_name}.emit")
    sessions = importlib.import_module(f"etude.backends.{backend_name}.train")
    emitted, (images, labels) = emit.emit_train(spec), digits.load()
    inputs = TrainInputs.of(spec, {"image": images, "label": labels}, None, {})
    make = getattr(sessions, f"{backend_name.capitalize()}Session")
    session = make(load_source(emitted.source), emitted.slots, inputs, backend.device)
    ids = np.arange(len(labels), dtype=np.uint64)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train_session(session, spec, ids, {}, Path(folder), lambda event: None, lambda: False)

    return run


@contextlib.contextmanager
def written_by_hand(backend: str) -> Iterator[None]:
    """The settings of a loop that knows nothing of ours: the frameworks' defaults."""
    if backend == "torch":
        import torch

        torch.use_deterministic_algorithms(False)
        yield
        torch.use_deterministic_algorithms(True, warn_only=True)
    else:
        import jax

        with jax.default_matmul_precision(None):
            yield


def hand_loop(backend: str, model: str, batch: int, steps: int) -> Callable[[], None]:
    loop = importlib.import_module(f"handwritten_{backend}").loop(model)
    indices = digits.batches(1797, batch, steps)

    def run() -> None:
        with written_by_hand(backend):
            loop(indices)

    return run


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def seconds(run: Callable[[], None], clock: str) -> float:
    start = CLOCKS[clock]()
    run()
    return CLOCKS[clock]() - start


def compare(backend: str, model: str, batch: int, *, pairs: int, threads: int, clock: str) -> str:
    """A line of the result: milliseconds a step of both, and the ratio."""
    steps = STEPS[model][batch]
    generated = generated_loop(backend, compiled_spec(model, batch, steps), threads)
    by_hand = hand_loop(backend, model, batch, steps)
    for run in (generated, by_hand):
        run()
    times = []
    for pair in range(pairs):
        order = (generated, by_hand) if pair % 2 else (by_hand, generated)
        found = {run: seconds(run, clock) / steps * 1e3 for run in order}
        times.append((found[generated], found[by_hand]))
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(a / b for a, b in times)
    measured = f"generated {ours:8.3f}  by hand {theirs:8.3f} ms a step  ratio {ratio:.3f}"
    return f"{backend:5} {model:8} batch {batch:3}  {measured}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backend", choices=("torch", "jax"))
    parser.add_argument("--model", choices=tuple(MODELS))
    parser.add_argument("--batch", type=int, choices=(64, 256))
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help="cpu: when others use the machine, too")
    chosen = parser.parse_args()
    settings = {"pairs": chosen.pairs, "threads": chosen.threads, "clock": chosen.clock}
    if chosen.backend and chosen.model and chosen.batch:
        print(compare(chosen.backend, chosen.model, chosen.batch, **settings), flush=True)
        return
    for backend in [chosen.backend] if chosen.backend else ["torch", "jax"]:
        for model in [chosen.model] if chosen.model else MODELS:
            for batch in [chosen.batch] if chosen.batch else STEPS[model]:
                # a process for each: thread pools are sized once, and nothing is warmer for one than for the other
                options = {"backend": backend, "model": model, "batch": batch, **settings}
                command = [sys.executable, __file__, *(f"--{name}={value}" for name, value in options.items())]
                subprocess.run(command, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})


if __name__ == "__main__":
    main()
