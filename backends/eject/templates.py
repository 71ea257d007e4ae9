"""The loops of scripts as modules with holes; `loops` says what they are filled with."""

SHARED = '''
import csv
import math
import pathlib
import sys
from collections.abc import Iterator
from itertools import chain, count
from typing import Any

import numpy as np

from etude.backends.batches import Ids, Indices, epoch_order, mix64
from etude.backends.numpy.random import GOLDEN, mix
from etude.backends.ordering import shares
<cycle>
<constants>


<rounds>
def batches(ids: Ids, size: int<batches_arguments>) -> Iterator[Indices]:
    """The rows of every step: <passes_are> as one endless permuted stream, which is cut into pieces of one size."""
    ahead = chain.from_iterable(<ahead>)
    while True:
        yield np.fromiter(ahead, np.int64, size)
<together>


<passes>
<scheduled>
def means(terms: list[dict[str, Any]]) -> dict[str, float]:
    """The mean of each term over some steps; one that is not finite ends the training."""
    <found>
    <renamed>
    for name, value in found.items():
        if not math.isfinite(value):
            raise SystemExit(f"{name} is {value}")
    return found
'''

ROUNDS = '''
def rounds(ids: Ids, size: int, <parameters>) -> Iterator[Indices]:
    """<doc>"""
    <easy>
    for number in count():
        <rows>
        <drawn>


'''
EASIEST = """
done = <done>
share = (<start> + (1.0 - <start>) * done) ** (1.0 / <power>)
rows = np.sort(easy[: max(size, math.ceil(round(share * len(ids), 9)))])
start += len(rows)
"""
DRAWN = """
counts = shares(arrays["weights"][rows], mix(SEED ^ mix(number + GOLDEN)) / 2**32)
chosen = np.repeat(rows, counts)
copies = np.arange(len(chosen)) - np.repeat(np.cumsum(counts) - counts, counts)
apart = mix64(ids[chosen] + copies.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
yield chosen[epoch_order(np.where(copies == 0, ids[chosen], apart), SEED, number)]
"""
PASSES = '''
def passes(done: int, size: int, rows: int, parts: int = 1) -> bool:
    """Whether one of the periods of rows / parts rows ends within step `done`, of `size` rows each."""
    return done * size * parts // rows > (done - 1) * size * parts // rows


'''
# Several players do not all move in each step: some steps have terms that others have not.
MEANS = {
    False: "found = {name: float(np.mean([float(values[name]) for values in terms])) for name in terms[0]}",
    True: [
        "names = dict.fromkeys(name for values in terms for name in values)",
        "found = {name: float(np.mean([float(values[name]) for values in terms if name in values])) for name in names}",
    ],
}
SCHEDULED = '''
def factor(step: int, steps: int, warmup: int) -> float:
    """The factor on the learning rate at a step."""
    if step < warmup:
        return (step + 1) / warmup
    <progress>
    return <factor>


'''
TOGETHER = '''


def batches_together(ids: dict[str, Ids], size: int) -> Iterator[dict[str, Indices]]:
    """The rows of every step of each data set, in orders of their own."""
    orders = {name: batches(rows, size, SEEDS[name]) for name, rows in ids.items()}
    while True:
        yield {name: next(order) for name, order in orders.items()}
'''

TORCH = '''
import torch
from torch import Tensor

from etude.backends.batches import row_keys
from etude.backends.torch.random import fold


def tensors(arrays: Any, group: str) -> dict[str, Tensor]:
    """The arrays of one group of the inputs, by the rest of their names."""
    found = {name.removeprefix(f"{group}/"): name for name in arrays if name.startswith(f"{group}/")}
    return {name: torch.from_numpy(arrays[full]).to(DEVICE) for name, full in found.items()}
<validate>


def main() -> None:
    """Train; write the history and the weights."""
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = False
    arrays = np.load(FOLDER / "inputs.npz")
    data, learned = tensors(arrays, "data"), <learned>
    models = Models().to(DEVICE)
    places = models.state_dict(keep_vars=True)
    weights = {path: places[path] for path in learned}
    with torch.no_grad():
        for path, value in (learned | tensors(arrays, "fixed")).items():
            places[path].copy_(value)
    optimizer = optimizers(models)
    <prepare>
    for done, index in zip(range(1, steps + 1), <batches>, strict=False):
        <gather>
        <clock>
        <rate>
        <step>
        <mark>
    <finish>
'''
TORCH_VALID = '''


@torch.inference_mode()
def validate(models: Models, held_out: dict[str, Tensor], ids: Any<clock>) -> dict[str, float]:
    """The means over the held-out rows of the loss, its terms and the scores."""
    key, rows = fold(KEY, 2**32 - 1), torch.from_numpy(row_keys(ids).view(np.int32)).to(DEVICE)
    sums: dict[str, float] = {}
    <scored>
    for i, start in enumerate(range(0, len(rows), BATCH)):
        <part>
        for name, value in evaluate(models, batch<with_clock>, fold(key, i)).items():
            sums[name] = sums.get(name, 0) + len(<taken>) * float(value)
        <score>
    return <result>
'''
TORCH_SCORED = {
    "scored": "scored: dict[str, list[Tensor]] = {}",
    "score": [
        "for name, values in scores(models, batch, rows[part], key).items():",
        "    scored.setdefault(name, []).append(values)",
    ],
    "values": "float(torch.cat(values).double().mean())",
}

TORCH_PARTS = {
    False: [
        "part = slice(start, start + BATCH)",
        "batch = {name: column[part] for name, column in held_out.items()}",
    ],
    True: [
        "index = torch.arange(start, min(start + BATCH, len(rows)), device=DEVICE)",
        "batch = {name: column[index % len(column)] for name, column in held_out.items()}",
    ],
}

JAX = '''
import os
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from etude.backends.batches import row_keys
from etude.backends.jax.random import fold


def on_device(arrays: Any, group: str) -> dict[str, Array]:
    """The arrays of one group of the inputs, by the rest of their names."""
    found = {name.removeprefix(f"{group}/"): name for name in arrays if name.startswith(f"{group}/")}
    return {name: jnp.array(arrays[full]) for name, full in found.items()}
<validate>


def main() -> None:
    """Train; write the history and the weights."""
    os.environ["NPROC"] = str(THREADS)  # how many processors XLA uses
    <platform>
    jax.config.update("jax_default_matmul_precision", "float32")
    arrays = np.load(FOLDER / "inputs.npz")
    data, params, rest = (on_device(arrays, group) for group in ("data", "learned", "fixed"))
    <slow>
    opt_state = jax.jit(init)(params)
    key_of = jax.jit(fold)
    <prepare>
    for done, index in zip(range(1, steps + 1), <batches>, strict=False):
        key = key_of(np.uint32(KEY), np.uint32(done - 1))
        <clock>
        <rate>
        <step>
        <mark>
    <finish>
'''
JAX_VALID = '''


@partial(jax.jit, static_argnums=0)
def at(function: Any, weights: Any, data: Any, index: Array, <more>*arguments: Any) -> dict[str, Array]:
    """Return what `evaluate` or `scores` gives for the rows of `data` at `index`."""
    batch = {name: column[<index>] for name, column in data.items()}
    return function(build(*weights), batch<with_clock>, *arguments)


def validate(weights: Any, held_out: dict[str, Array], ids: Any<clock>) -> dict[str, float]:
    """The means over the held-out rows of the loss, its terms and the scores."""
    key, rows = fold(np.uint32(KEY), np.uint32(2**32 - 1)), jnp.array(row_keys(ids))
    size, sums = min(BATCH, len(rows)), dict[str, float]()
    <scored>
    for i, start in enumerate(range(0, len(rows), size)):
        index = np.arange(start, start + size, dtype=np.int32)
        inside = index[index < len(rows)]
        for name, value in at(evaluate, weights, held_out, inside, <given>fold(key, i)).items():
            sums[name] = sums.get(name, 0) + len(inside) * float(value)
        <score>
    return <result>
'''
JAX_SCORED = {
    "scored": "scored: dict[str, list[Any]] = {}",
    "score": [
        "index %= len(rows)  # batches of one size are compiled once",
        "for name, values in at(scores, weights, held_out, index, <given>rows[index], key).items():",
        "    scored.setdefault(name, []).append(np.asarray(values)[: len(inside)])",
    ],
    "values": "float(np.mean(np.concatenate(values), dtype=np.float64))",
}

PREPARE = """
<ids>
size = min(BATCH, rows)
steps = <steps>
<warmup>
<state>
<held_out>
file = open(FOLDER / "history.csv", "w", 1, newline="")  # noqa: SIM115  # written row by row
writers = [csv.DictWriter(each, COLUMNS, lineterminator="\\n") for each in (sys.stdout, file)]
for writer in writers:
    writer.writeheader()
terms: list[dict[str, Any]] = []
<kept>
"""
MARK = """
<due>
if not <is_due>:
    continue
row = {"step": done, "epoch": round(done * size / rows, 4), **means(terms), "lr": <lr>}
terms = []
<validation>
for writer in writers:
    writer.writerow(row)
<saved>
<stop>
"""
