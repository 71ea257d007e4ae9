"""Compare chains of equal blocks as a scan with blocks one after the other: seconds to compile, milliseconds a step.

A causal transformer of so many blocks is trained on windows of the digits' rows, by the generated step in its two forms
and by three written by hand: blocks in a Python loop, a scan over weights that are stacked inside of the step, and a
scan over weights that are held stacked. All take turns; nothing that was compiled before is used.

    python benchmarks/scan_blocks.py [--blocks 4 12 24] [--dim 64] [--batch 32] [--small] [--clock wall]

`--small` makes a block of one linear layer: many of them, and next to nothing to compute.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import digits
import jax
import jax.numpy as jnp
import numpy as np
import optax
from handwritten_jax import apply, attention, dense, layer_norm
from jax import Array, lax

from etude.backends.inputs import TrainInputs
from etude.backends.jax.devices import prepare
from etude.backends.jax.emit import emit_train
from etude.backends.jax.places import Places
from etude.backends.jax.train import JaxSession
from etude.backends.modules import load_source
from etude.backends.timetable import Clock
from etude.runtime.compiling import compile_text

RECIPE = """
model block(heads: int)(x) {{
  dim = x.shape[-1]
  {body}
}}
model tower(depth: int, dim: int)(image) {{
  blocks = [block(4) for _ in 1..depth]
  return mean(layer_norm()(chain(blocks)(linear(dim)(image[:, :, :, 0]))), axis = 1)
}}
digits = load("sklearn:digits")
tuned  = finetune(tower({blocks}, {dim}) >> linear(10), on = digits, batch = {batch}, budget = 100steps)
report {{ accuracy = accuracy(tuned, on = digits) }}
"""
BODIES = {
    False: """a = x + self_attention(heads, causal = true)(layer_norm()(x))
  return a + mlp([4 * dim, dim], act = gelu)(layer_norm()(a))""",
    True: "return x + tanh(linear(dim)(x))",
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Step = Callable[[], object]


def generated(scans: int, blocks: int, dim: int, batch: int, small: bool) -> Callable[[], Step]:
    """The emitted step over a session; made anew for each time that it is compiled."""
    text = RECIPE.format(body=BODIES[small], blocks=blocks, dim=dim, batch=batch)
    compilation = compile_text(text, "tower.etude", Path.cwd())
    assert compilation.workflow is not None, [diagnostic.message for diagnostic in compilation.diagnostics]
    (spec,) = (stage.spec for stage in compilation.workflow.stages.values() if stage.kind == "train")
    images, labels = digits.load()

    def make() -> Step:
        emitted = emit_train(spec, scans=scans)
        plain = emit_train(spec)
        inputs = TrainInputs.of(spec, {"image": images, "label": labels}, None, {})
        session = JaxSession(load_source(plain.source), plain.slots, inputs, Places(jax.devices("cpu")[0]))
        session.use(load_source(emitted.source))
        rows = np.arange(batch)

        def step() -> object:
            session.step(rows, 0, [1e-3], Clock(0, 0.0))
            return session.carry()

        return step

    return make


def by_hand(form: str, blocks: int, dim: int, batch: int, small: bool) -> Callable[[], Step]:
    """A step as one would write it."""

    def one_block(key: Array) -> Any:
        if small:
            return dense(key, dim, dim)
        a, b, c, d = jax.random.split(key, 4)
        norms = {name: {"scale": jnp.ones(dim), "bias": jnp.zeros(dim)} for name in ("norm1", "norm2")}
        layers = {"qkv": dense(a, dim, 3 * dim), "out": dense(b, dim, dim)}
        return layers | {"up": dense(c, dim, 4 * dim), "down": dense(d, 4 * dim, dim)} | norms

    def one(x: Array, block: Any) -> Array:
        if small:
            return x + jnp.tanh(apply(block, x))
        a = x + attention(block, layer_norm(block["norm1"], x))
        hidden = jax.nn.gelu(apply(block["up"], layer_norm(block["norm2"], a)), approximate=False)
        return a + apply(block["down"], hidden)

    def forward(params: Any, x: Array) -> Array:
        x, layers = apply(params["first"], x[..., 0]), params["blocks"]
        if form == "loop":
            for block in layers:
                x = one(x, block)
        else:
            layers = jax.tree.map(lambda *each: jnp.stack(each), *layers) if form == "stacked inside" else layers
            x, _ = lax.scan(lambda x, block: (one(x, block), None), x, layers)
        return apply(params["head"], layer_norm(params["norm"], x).mean(1))

    def make() -> Step:
        first, head, *keys = jax.random.split(jax.random.key(0), 2 + blocks)
        layers = [one_block(key) for key in keys]
        params = {"first": dense(first, 8, dim), "head": dense(head, dim, 10)}
        params["norm"] = {"scale": jnp.ones(dim), "bias": jnp.zeros(dim)}
        params["blocks"] = jax.tree.map(lambda *each: jnp.stack(each), *layers) if form == "held stacked" else layers
        optimizer = optax.adamw(1e-3, weight_decay=0.01)
        images, labels = digits.load()
        x, y, index = jnp.asarray(images), jnp.asarray(labels), np.arange(batch)
        state = [params, jax.jit(optimizer.init)(params)]

        @partial(jax.jit, donate_argnums=(0, 1))
        def update(params: Any, opt_state: Any, x: Array, y: Array, index: Array) -> tuple[Any, Any, Array]:
            def loss(params: Any) -> Array:
                logits = forward(params, x[index])
                return optax.softmax_cross_entropy_with_integer_labels(logits, y[index]).mean()

            value, gradients = jax.value_and_grad(loss)(params)
            updates, opt_state = optimizer.update(gradients, opt_state, params)
            return optax.apply_updates(params, updates), opt_state, value

        def step() -> object:
            state[0], state[1], loss = update(state[0], state[1], x, y, index)
            return state, loss

        return step

    return make


def seconds(step: Step, steps: int, clock: str) -> float:
    start = CLOCKS[clock]()
    for _ in range(steps):
        made = step()
    jax.block_until_ready(made)
    return CLOCKS[clock]() - start


def compare(blocks: int, dim: int, batch: int, small: bool, rounds: int, clock: str) -> None:
    """Print what each form takes to compile, and for a step: medians over the rounds, and their ratio to the first."""
    settings = (blocks, dim, batch, small)
    forms = {
        "generated, one after the other": generated(0, *settings),
        "generated, scan": generated(2, *settings),
        "by hand, loop": by_hand("loop", *settings),
        "by hand, scan, stacked inside": by_hand("stacked inside", *settings),
        "by hand, scan, held stacked": by_hand("held stacked", *settings),
    }
    first: dict[str, list[float]] = {name: [] for name in forms}
    later: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, make in forms.items():
            jax.clear_caches()
            step = make()
            jax.block_until_ready(jnp.zeros(()))
            first[name].append(seconds(step, 1, clock))
            steps = max(3, min(100, round(0.5 / max(seconds(step, 2, clock) / 2, 1e-6))))
            later[name].append(seconds(step, steps, clock) / steps)
    whole = next(iter(forms))
    for name in forms:
        step_ratio = statistics.median(a / b for a, b in zip(later[name], later[whole], strict=True))
        compile_ratio = statistics.median(a / b for a, b in zip(first[name], first[whole], strict=True))
        compiled, step = statistics.median(first[name]), statistics.median(later[name]) * 1e3
        print(
            f"{blocks:3} blocks  {name:31} compile {compiled:6.2f} s ({compile_ratio:.2f})"
            f"  step {step:8.2f} ms ({step_ratio:.2f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=[4, 12, 24])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="blocks of one linear layer")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help="cpu: when others use the machine, too")
    chosen = parser.parse_args()
    prepare("cpu", 1)
    jax.config.update("jax_enable_compilation_cache", False)
    for blocks in chosen.blocks:
        compare(blocks, chosen.dim, chosen.batch, chosen.small, chosen.rounds, chosen.clock)


if __name__ == "__main__":
    main()
