"""The loops of scripts, as modules with holes: plain code around the functions of an emitted step."""

from __future__ import annotations

from collections.abc import Sequence

from etude.backends.eject import About
from etude.backends.eject.settings import LoopSettings, tuple_text
from etude.backends.emission.templates import fill

FRAMEWORKS = {"torch": "PyTorch", "jax": "JAX"}
WIDTH = 120

SHARED = '''
import csv
import math
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from etude.backends.batches import Ids, Indices, epoch_order
<constants>


def batches(ids: Ids, size: int) -> Iterator[Indices]:
    """The rows of every step: epochs as one endless permuted stream, which is cut into pieces of one size."""
    ahead, epoch = epoch_order(ids, SEED, 0), 0
    while True:
        while len(ahead) < size:
            epoch += 1
            ahead = np.concatenate([ahead, epoch_order(ids, SEED, epoch)])
        yield ahead[:size]
        ahead = ahead[size:]


def passes(done: int, size: int, rows: int, parts: int = 1) -> bool:
    """Whether one of the periods of rows / parts rows ends within step `done`, of `size` rows each."""
    return done * size * parts // rows > (done - 1) * size * parts // rows


def factor(step: int, steps: int, warmup: int) -> float:
    """The factor on the learning rate at a step."""
    if step < warmup:
        return (step + 1) / warmup
    <progress>
    return <factor>


def means(terms: list[dict[str, Any]]) -> dict[str, float]:
    """The mean of each term over some steps; one that is not finite ends the training."""
    names = dict.fromkeys(name for values in terms for name in values)
    found = {name: float(np.mean([float(values[name]) for values in terms if name in values])) for name in names}
    <renamed>
    for name, value in found.items():
        if not math.isfinite(value):
            raise SystemExit(f"{name} is {value}")
    return found
'''

TORCH = '''
import torch
from torch import Tensor

from etude.backends.batches import row_keys
from etude.backends.torch.random import fold
from etude.backends.torch.rows import weight_at


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
    weights = {path: weight_at(models, path) for path in learned}
    with torch.no_grad():
        for path, value in (learned | tensors(arrays, "fixed")).items():
            weight_at(models, path).copy_(value)
    optimizer = optimizers(models)
    <prepare>
    for done, index in zip(range(1, steps + 1), batches(arrays["ids"], size), strict=False):
        chosen = torch.from_numpy(index).to(DEVICE)
        batch = {name: column.index_select(0, chosen) for name, column in data.items()}
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
        part = slice(start, start + BATCH)
        batch = {name: column[part] for name, column in held_out.items()}
        for name, value in evaluate(models, batch<with_clock>, fold(key, i)).items():
            sums[name] = sums.get(name, 0) + len(rows[part]) * float(value)
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
    for done, index in zip(range(1, steps + 1), batches(arrays["ids"], size), strict=False):
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
    return function(build(*weights), {name: column[index] for name, column in data.items()}<with_clock>, *arguments)


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
rows = len(arrays["ids"])
size = min(BATCH, rows)
steps = <steps>
warmup = <warmup>
<state>
<held_out>
file = open(FOLDER / "history.csv", "w", newline="")  # noqa: SIM115  # written row by row
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
file.flush()
<stop>
"""


def loop_text(backend: str, settings: LoopSettings, about: About) -> str:
    """The module of the loop: `main` and what it calls, where the emitted step's names are taken as given."""
    is_torch = backend == "torch"
    pieces = {
        "validate": _validate(settings, is_torch) if settings.has_valid else None,
        "prepare": _prepare(settings, is_torch),
        "clock": _clock(settings, is_torch) if settings.reads_clock else None,
        "rate": _rate(settings, is_torch),
        "step": _torch_step(settings) if is_torch else _jax_step(settings),
        "mark": _mark(settings, is_torch),
        "finish": [
            "file.close()",
            f"{'kept = kept or' if settings.keeps_best else 'kept ='} {_current(settings, is_torch)}",
            'np.savez(FOLDER / "weights.npz", **kept)',
        ],
    }
    if is_torch:
        learned = 'tensors(arrays, "learned")'
        learned += ' | tensors(arrays, "slow")' if settings.has_slow else ""
        main = fill(TORCH, **pieces, learned=learned)
    else:
        platform = 'jax.config.update("jax_platforms", "cpu")' if about.device == "cpu" else None
        slow = 'slow = on_device(arrays, "slow")' if settings.has_slow else None
        main = fill(JAX, **pieces, platform=platform, slow=slow)
    return "\n".join([*_shared(settings, about, is_torch), *main, ""])


def _shared(settings: LoopSettings, about: About, is_torch: bool) -> list[str]:
    several = len(settings.rates) > 1
    constants = [
        "FOLDER = pathlib.Path(__file__).parent",
        *([f'DEVICE = "{about.device}"'] if is_torch else []),
        f"THREADS = {about.threads}  # another number sums in another order",
        f"BATCH = {settings.batch}  # rows of a step",
        f"SEED = {settings.seed}  # of the order of rows",
        f"KEY = 0x{settings.key:08X}  # that all draws come from",
        f"RATES = {tuple_text(settings.rates)}  # of each player" if several else f"RATE = {settings.rates[0]!r}",
        *([f"TURNS = {tuple_text(settings.turns)}  # a player moves each so many steps"] if several else []),
        *_listed("COLUMNS = ", "()", [f'"{column}"' for column in settings.columns]),
        *(_listed("TERMS = ", "{}", _terms(settings)) if settings.terms else []),
    ]
    is_constant = settings.decay == "1.0"
    rest = f"{settings.final!r} + {1.0 - settings.final!r} * " if settings.final else ""
    decay = f"({settings.decay})" if rest else settings.decay
    return fill(
        SHARED,
        constants=constants,
        progress=None if is_constant else "progress = (step - warmup) / max(1, steps - warmup)",
        renamed="found = {TERMS.get(name, name): value for name, value in found.items()}" if settings.terms else None,
        factor="1.0" if is_constant else f"{rest}{decay}",
    )


def _terms(settings: LoopSettings) -> list[str]:
    return [f'"{term}": "{shown}"' for term, shown in settings.terms.items()]


def _listed(start: str, brackets: str, entries: Sequence[str]) -> list[str]:
    """A tuple or a dictionary in one line, or in a line for each entry."""
    line = f"{start}{brackets[0]}{', '.join(entries)}{brackets[1]}"
    if len(line) <= WIDTH:
        return [line]
    return [f"{start}{brackets[0]}", *(f"    {entry}," for entry in entries), brackets[1]]


def _validate(settings: LoopSettings, is_torch: bool) -> list[str]:
    scored = (TORCH_SCORED if is_torch else JAX_SCORED) if settings.has_scores else {}
    means = "{name: value / len(rows) for name, value in sums.items()}"
    result = f"{means} | {{name: {scored['values']} for name, values in scored.items()}}" if scored else means
    if len(f"    return {result}") > WIDTH:
        result = means + " | {\n        name: " + str(scored["values"]) + " for name, values in scored.items()\n    }"
    has_clock, score = settings.valid_reads_clock, list(scored.get("score", ()))
    pieces = {"scored": scored.get("scored"), "score": score, "result": result}
    pieces |= {"clock": ", clock: Any" if has_clock else "", "with_clock": " | clock" if has_clock else ""}
    if not is_torch:
        pieces |= {"more": "clock: Any, " if has_clock else "", "given": "clock, " if has_clock else ""}
        pieces["score"] = [line.replace("<given>", "{}, " if has_clock else "") for line in score]
    template = TORCH_VALID if is_torch else JAX_VALID
    return ["", "", *fill(template, **pieces)]


def _current(settings: LoopSettings, is_torch: bool) -> str:
    """The weights that are learned, as numpy arrays by path, as they are now."""
    if is_torch:
        return "{path: weight.detach().cpu().numpy().copy() for path, weight in weights.items()}"
    params = "(params | slow)" if settings.has_slow else "params"
    return f"{{path: np.array(weight) for path, weight in {params}.items()}}"


def _prepare(settings: LoopSettings, is_torch: bool) -> list[str]:
    held_out = f'held_out = {"tensors" if is_torch else "on_device"}(arrays, "valid")' if settings.has_valid else None
    kept: list[str] = []
    if settings.judged_by:
        kept = ["best, waited = -math.inf, 0"]
    if settings.keeps_best:
        kept += ["kept: dict[str, Any] = {}"]
    state = _first_state(settings, is_torch) if settings.state else None
    return fill(PREPARE, steps=settings.steps, warmup=settings.warmup, state=state, held_out=held_out, kept=kept)


def _first_state(settings: LoopSettings, is_torch: bool) -> list[str]:
    key = f"0x{settings.initial_key:08X}"
    made = "torch.as_tensor({}, dtype=torch.{}, device=DEVICE)" if is_torch else "jnp.array({}, jnp.{})"
    entries = [f'    "{name}": {made.format(f"""first["{name}"]""", dtype)},' for name, dtype in settings.state.items()]
    return [f"first = initial_state({key if is_torch else f'np.uint32({key})'})", "state = {", *entries, "}"]


def _clock(settings: LoopSettings, is_torch: bool) -> list[str]:
    """The number of the step and the share that is done, which programs read like columns."""
    if not is_torch:
        return ['clock = {"@step": np.int32(done - 1), "@progress": np.float32((done - 1) / steps)}']
    return [
        "clock = {",
        '    "@step": torch.tensor(done - 1, dtype=torch.int32, device=DEVICE),',
        '    "@progress": torch.tensor((done - 1) / steps, device=DEVICE),',
        "}",
    ]


def _torch_step(settings: LoopSettings) -> list[str]:
    batch = "batch | clock" if settings.step_reads_clock else "batch"
    if not settings.state:
        return [f"terms.append(step(models, optimizer, {batch}, fold(KEY, done - 1), lr))"]
    return [
        f"now, state = step(models, optimizer, {batch}, state, fold(KEY, done - 1), lr)",
        "terms.append(now)",
    ]


def _jax_step(settings: LoopSettings) -> list[str]:
    slow, state = ["slow"] * settings.has_slow, ["state"] * bool(settings.state)
    clock = ["clock"] * settings.step_reads_clock
    results = ", ".join(["params", *slow, "opt_state", *state, "now"])
    lr = "lr" if len(settings.rates) > 1 else "np.float32(lr)"
    index = "index.astype(np.int32)"
    arguments = ", ".join(["params", *slow, "rest", "opt_state", *state, "data", index, *clock, "key", lr])
    line = f"{results} = step({arguments})"
    call = [line] if len(line) + 8 <= WIDTH else [f"{results} = step(", f"    {arguments}", ")"]
    return [*call, "terms.append(now)"]


def _rate(settings: LoopSettings, is_torch: bool) -> list[str]:
    if len(settings.rates) == 1:
        return ["lr = RATE * factor(done - 1, steps, warmup)"]
    rate = "rate * share" if is_torch else "np.float32(rate * share)"
    return [
        "share = factor(done - 1, steps, warmup)",
        "turns = [(done - 1) % turn == 0 for turn in TURNS]",
        f"lr = tuple({rate} if is_on else None for rate, is_on in zip(RATES, turns, strict=True))",
    ]


def _mark(settings: LoopSettings, is_torch: bool) -> list[str]:
    due = validation = stop = None
    is_due = "(done == steps or passes(done, size, rows))"
    if settings.has_valid:
        if settings.valid_period != "rows":
            due = f"is_validated = done == steps or passes(done, size, {settings.valid_period})"
            is_due = "(is_validated or passes(done, size, rows))"
        validation = _validation(settings, is_torch)
    if settings.patience is not None:
        stop = [f"if waited >= {settings.patience}:", "    break"]
    lr = "lr" if len(settings.rates) == 1 else "RATES[0] * share"
    return fill(MARK, due=due, is_due=is_due, validation=validation, stop=stop, lr=lr)


def _validation(settings: LoopSettings, is_torch: bool) -> list[str]:
    weights = "models" if is_torch else "(params, slow, rest)" if settings.has_slow else "(params, rest)"
    clock = ", clock" if settings.valid_reads_clock else ""
    lines = [
        f'found = validate({weights}, held_out, arrays["valid_ids"]{clock})',
        "row |= {f\"valid.{name or 'score'}\": value for name, value in found.items()}",
    ]
    if settings.judged_by is not None:
        kept = [f"    kept = {_current(settings, is_torch)}"] if settings.keeps_best else []
        lines += [
            f"value = {settings.judged_by}",
            "waited += 1",
            "if value > best:",
            "    best, waited = value, 0",
            *kept,
        ]
    return lines if settings.valid_period == "rows" else ["if is_validated:", *(f"    {line}" for line in lines)]
