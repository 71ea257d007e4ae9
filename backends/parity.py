"""Whether two backends agree: the same stage from the same inputs, step by step.

The tolerance is the larger of 1e-5, of the largest loss or output where that is above one, and ten times what the same
program does when its initial weights move by one rounding of the precision: a difference below that is what reordering
sums may cause, and no error. A value that lies some roundings away from the kink of a relu, or from a tie of a maximum,
makes that effect large, but not for every move, and maybe only on the backend on whose side of the kink it lies closer:
where the first does not do, several moves are tried on both. Every other one of these is of eight roundings at once,
and counts for an eighth: without a kink that is the same, and one that a backend's sums reach is met far more often.

Losses far above one need the share: optax corrects Adam's second moment by `1 - decay**count` in float32, where 1 -
0.999 is 1.3e-5 off, so every step is 6e-6 of itself longer than with PyTorch, which no move of a weight shows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from etude.backends.base import Array, Backend, Columns, Held, Ids, InputWeights, RowBackend, Streams, TrainResult
from etude.backends.inputs import initial_weights
from etude.backends.numerics import Precision

Json = Any
Effect = Callable[[Sequence[Array]], float]
"""How far the losses or outputs of a backend move when the program starts from moved weights."""

FLOOR = 1e-5
FACTOR = 10.0
FAR = 8  # roundings
CHANGED = 0.01
ALIKE = 4  # moves of all weights in one direction
MOVES = 256  # of 400 moves by one rounding, 2 took a stage of an example across the kink that the other was beyond
BF16 = np.float32(2**-8)  # a rounding to bfloat16, as a share of the number


def compare_train(
    backends: Sequence[Backend],
    spec: Mapping[str, Json],
    data: Columns,
    ids: Ids | Streams,
    valid: Held | None,
    weights: InputWeights,
    *,
    steps: int = 10,
    precision: Precision = "float32",
) -> Json:
    """Run the first steps of a train stage on two backends and compare losses and weights.

    `loss_difference` is the largest of any term at any step, `weights_difference` the largest of any weight after the
    last one; `tolerance` bounds the former.
    """
    initial = initial_weights(spec["slots"], weights)
    first, second = (_trained(backend, spec, initial, data, ids, valid, steps) for backend in backends)
    difference = _loss_difference(first, second)

    def effect(backend: Backend, found: TrainResult, start: Sequence[Array]) -> float:
        return _loss_difference(found, _trained(backend, spec, start, data, ids, valid, steps))

    effects = [partial(effect, *pair) for pair in zip(backends, (first, second), strict=True)]
    floor = _floor(value for entry in first.history for value in _losses(entry).values())
    tolerance = _tolerance(difference, floor, initial, effects, precision)
    return {
        "steps": first.steps,
        "loss_difference": difference,
        "weights_difference": _largest(_distance(a, b) for a, b in zip(first.weights, second.weights, strict=True)),
        "tolerance": tolerance,
        "agrees": difference <= tolerance,
    }


def compare_rows(
    backends: Sequence[RowBackend],
    spec: Mapping[str, Json],
    data: Columns,
    ids: Ids,
    weights: InputWeights,
    *,
    precision: Precision = "float32",
) -> Json:
    """Run a row program on two backends and compare every output.

    `difference` is the largest of any number, `changed` the largest share of a whole-number or boolean output that came
    out differently; they are bounded by `tolerance` and by 1 %.
    """
    initial = initial_weights(spec["slots"], weights)
    given, inputs = with_weights(spec, initial)
    first, second = (backend.rows(given, data, ids, inputs) for backend in backends)
    difference, changed = _differences(first, second)

    def effect(backend: RowBackend, found: Mapping[str, Array], start: Sequence[Array]) -> float:
        return _differences(found, backend.rows(given, data, ids, {0: start}))[0]

    effects = [partial(effect, *pair) for pair in zip(backends, (first, second), strict=True)]
    floor = _floor(float(np.abs(array).max(initial=0.0)) for array in first.values() if array.dtype.kind == "f")
    tolerance = _tolerance(difference, floor, initial, effects, precision)
    return {
        "rows": len(ids),
        "difference": difference,
        "changed": changed,
        "tolerance": tolerance,
        "agrees": difference <= tolerance and changed <= CHANGED,
    }


def with_weights(spec: Mapping[str, Json], initial: Sequence[Array]) -> tuple[dict[str, Json], InputWeights]:
    """The same stage with every slot taken from one input that holds `initial`."""
    slots = [slot | {"source": {"input": 0, "index": i}} for i, slot in enumerate(spec["slots"])]
    return {**spec, "slots": slots}, {0: initial}


def _floor(values: Iterable[float]) -> float:
    """What is tolerated of numbers of this size in any case."""
    finite = [abs(value) for value in values if np.isfinite(value)]
    return FLOOR * max([1.0, *finite])


def _tolerance(
    difference: float, floor: float, initial: Sequence[Array], effects: Sequence[Effect], precision: Precision
) -> float:
    """What is tolerated, looked for until it covers `difference`."""
    tolerance = floor
    for move in range(MOVES):
        for effect in effects:
            if difference <= tolerance or not initial:
                return tolerance
            count = FAR if move >= ALIKE and move % 2 == 0 else 1
            tolerance = max(tolerance, FACTOR / count * effect(roundings_off(initial, move, precision, count)))
    return tolerance


def roundings_off(
    weights: Sequence[Array], move: int = 0, precision: Precision = "float32", count: int = 1
) -> list[Array]:
    """Every weight moved by `count` roundings of a precision, to its nearest numbers with one; `move` chooses where to.

    The first four move all of them alike (away from zero, towards it, up, down), which shifts a sum the most; the
    others each its own way. Zeros stay: no rounding moves them, and the kink of a relu makes much of the smallest
    number above zero.
    """
    generator = np.random.default_rng(move)
    signs = [_signs(weight, move, generator) for weight in weights]
    if precision == "bf16":
        return [weight + sign * count * np.abs(weight) * BF16 for weight, sign in zip(weights, signs, strict=True)]
    return [_moved(weight, sign, count) for weight, sign in zip(weights, signs, strict=True)]


def _moved(weight: Array, sign: Array, count: int) -> Array:
    moved = weight
    for _ in range(count):
        moved = np.nextafter(moved, sign * np.inf, dtype=weight.dtype)
    return np.where(weight == 0, weight, moved)


def _signs(weight: Array, move: int, generator: np.random.Generator) -> Array:
    """1 or -1 for every weight, in its dtype."""
    alike = [weight >= 0, weight < 0, np.ones_like(weight, bool), np.zeros_like(weight, bool)]
    is_up = alike[move] if move < ALIKE else generator.random(weight.shape) >= 0.5
    return np.where(is_up, 1, -1).astype(weight.dtype)


def _trained(
    backend: Backend,
    spec: Mapping[str, Json],
    initial: Sequence[Array],
    data: Columns,
    ids: Ids | Streams,
    valid: Held | None,
    steps: int,
) -> TrainResult:
    given, inputs = with_weights({**spec, "keep": "last"}, initial)
    with tempfile.TemporaryDirectory() as folder:
        return backend.train(
            given,
            data,
            ids,
            valid,
            inputs,
            Path(folder),
            emit=lambda event: None,
            stop=lambda: False,
            limit=steps,
            record="step",
        )


def _loss_difference(first: TrainResult, second: TrainResult) -> float:
    """The largest difference of any loss term at any step."""
    return _largest(
        abs(value - b[name])
        for a, b in zip(first.history, second.history, strict=True)
        for name, value in _losses(a).items()
    )


def _losses(entry: Mapping[str, float]) -> dict[str, float]:
    """The terms of the loss in an entry of a history."""
    places = {"step", "epoch", "lr"}
    return {name: value for name, value in entry.items() if name not in places and not name.startswith("valid.")}


def _differences(first: Mapping[str, Array], second: Mapping[str, Array]) -> tuple[float, float]:
    numbers = (_distance(first[name], second[name]) for name in first if first[name].dtype.kind == "f")
    others = (float(np.mean(first[name] != second[name])) for name in first if first[name].dtype.kind != "f")
    return _largest(numbers), _largest(others)


def _distance(first: Array, second: Array) -> float:
    """The largest difference of two arrays of numbers; equal infinities are no difference."""
    with np.errstate(invalid="ignore"):
        apart = np.where(first == second, 0.0, np.abs(first.astype(np.float64) - second.astype(np.float64)))
    return float(apart.max(initial=0.0))


def _largest(values: Iterable[float]) -> float:
    """The largest of some differences, not a number if one of them is."""
    return float(np.max([0.0, *values]))
