"""Tiny train stages, built operation by operation: a perceptron on three blobs of points."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend, Extras, InputWeights, Record, Rows, TrainResult, load
from etude.backends.batches import mix64
from etude.backends.program.builder import Builder
from etude.backends.program.dims import Dim, b
from etude.backends.program.ir import Child, Literal, Module, Operand, Slot, StageProgram, Sub, Value
from etude.backends.program.serialize import program_to_json
from etude.backends.program.types import TensorType
from etude.backends.snapshots import Keeper, Snapshot

Spec = dict[str, Any]
WIDTHS = (8, 16, 3)
MODULE = Module((0, 1, 2, 3))


def blobs(rows: int, seed: int) -> Rows:
    """Three overlapping clouds of points in eight dimensions, with their labels."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(3, 8))
    label = generator.integers(0, 3, rows).astype(np.int32)
    points = (centres[label] + 0.5 * generator.normal(size=(rows, 8))).astype(np.float32)
    return {"points": points, "label": label}, mix64(np.arange(rows, dtype=np.uint64) + np.uint64(1000 * seed))


def perceptron(dropout: float = 0.0) -> Sub:
    """Points (b, 8) to logits (b, 3); slots: weight and bias of each layer."""
    build = Builder("perceptron")
    x: Operand = build.input("x", TensorType("float32", (b, WIDTHS[0])))
    for layer, (inputs, outputs) in enumerate(pairwise(WIDTHS)):
        if layer:
            (x,) = build.apply("relu", [x])
            if dropout:
                (x,) = build.apply("dropout", [x], {"rate": dropout})
        w = build.weight(Slot(f"w{layer}", TensorType("float32", (inputs, outputs)), (("kind", "lecun_normal"),)))
        bias = build.weight(Slot(f"b{layer}", TensorType("float32", (outputs,)), (("kind", "zeros"),)))
        (product,) = build.apply("matmul", [x, w])
        (x,) = build.apply("add", [product, bias])
    return build.build([("", x)])


def call(build: Builder, model: Sub, x: Value, rows: tuple[Dim, ...]) -> Value:
    build.children.append(Child("net", model))
    is_row = not rows
    return build.call(len(build.children) - 1, [x], [TensorType("float32", (*rows, WIDTHS[-1]))], rows=is_row)[0]


def cross_entropy_loss(model: Sub, *, penalty: float | None = None, noise: float = 0.0) -> Sub:
    """The loss program: with `penalty` two named terms, with `noise` points that are moved afresh at each step."""
    build = Builder("loss")
    x = build.input("points", TensorType("float32", (b, WIDTHS[0])))
    y = build.input("label", TensorType("int32", (b,)))
    if noise:
        (draws,) = build.apply("normal", [], {"shape": (b, WIDTHS[0])})
        (scaled,) = build.apply("mul", [draws, Literal(noise)])
        (x,) = build.apply("add", [x, scaled])
    logits = call(build, model, x, (b,))
    (entropy,) = build.apply("cross_entropy", [logits, y], {"has": ("logits", "labels")} | ENTROPY)
    if penalty is None:
        return build.build([("", entropy)])
    (squares,) = build.apply("square", [logits])
    (size,) = build.apply("mean", [squares], {"axis": None, "keep": False})
    (weighted,) = build.apply("mul", [size, Literal(penalty)])
    return build.build([("entropy", entropy), ("size", weighted)])


ENTROPY = {"reduce": "mean", "label_smoothing": 0.0}


def accuracy_row(model: Sub) -> Sub:
    """A row program: whether the most likely class is the label."""
    build = Builder("accuracy")
    x = build.input("points", TensorType("float32", (WIDTHS[0],)))
    y = build.input("label", TensorType("int32", ()))
    logits = call(build, model, x, ())
    (best,) = build.apply("argmax", [logits], {"axis": -1, "keep": False})
    (correct,) = build.apply("eq", [best, y])
    return build.build([("accuracy", correct)])


def program(sub: Sub) -> Any:
    return program_to_json(StageProgram(sub, (MODULE,)))


def fresh_slots(seed: int = 0) -> list[Spec]:
    shapes = [(8, 16), (16,), (16, 3), (3,)]
    return [
        {
            "shape": list(shape),
            "dtype": "float32",
            "path": f"net.{i}",
            "init": {"kind": "lecun_normal" if len(shape) == 2 else "zeros"},
            "source": {"fresh": {"structure": "5eed5eed", "ordinal": i, "seed": seed}},
        }
        for i, shape in enumerate(shapes)
    ]


@pytest.fixture
def train_spec() -> Callable[..., Spec]:
    """Make the spec of a train stage; settings replace its defaults."""

    def make(
        *, dropout: float = 0.0, penalty: float | None = None, noise: float = 0.0, lr: float = 0.01, **settings: Any
    ) -> Spec:
        training, still = perceptron(dropout), perceptron()
        loss = program(cross_entropy_loss(training, penalty=penalty, noise=noise))
        optimizer = {"name": "adamw", "lr": lr, "weight_decay": 0.01}
        return {
            "steps": [{"loss": loss, "update": [0, 1, 2, 3], "optimizer": optimizer, "every": 1}],
            "slots": fresh_slots(),
            "results": [[0, 1, 2, 3]],
            "names": [["net", ["0.w", "0.b", "1.w", "1.b"]]],
            "schedule": {"name": "constant"},
            "batch": 32,
            "budget": {"epochs": 5},
            "clip": None,
            "valid": {
                "loss": program(cross_entropy_loss(still)),
                "scores": program(accuracy_row(still)),
                "every": {"epochs": 1},
            },
            "keep": "last",
            "score": None,
            "patience": None,
            "seed": 3,
            "identity": "00c0ffee",
        } | settings

    return make


@pytest.fixture
def rows_spec() -> Spec:
    """The spec of a measurement of accuracy with fresh weights."""
    model = perceptron()
    return {"program": program(accuracy_row(model)), "slots": fresh_slots(), "seed": 3, "identity": "00c0ffee"}


@pytest.fixture
def data() -> Rows:
    return blobs(200, seed=1)


@pytest.fixture
def valid() -> Rows:
    return blobs(90, seed=2)


@pytest.fixture(params=["torch", "jax"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return load(request.param, device="cpu", threads=1)


@pytest.fixture
def run(data: Rows, valid: Rows, tmp_path: Path) -> Callable[..., TrainResult]:
    """Train a spec on the blobs, from no input weights unless some are given."""

    def train(
        backend: Backend,
        spec: Spec,
        *,
        on: Rows = data,
        weights: InputWeights | None = None,
        limit: int | None = None,
        record: Record = "epoch",
        keeper: Keeper | None = None,
        extras: Extras | None = None,
    ) -> TrainResult:
        held_out = valid if spec["valid"] else None
        return backend.train(
            spec,
            *on,
            held_out,
            weights or {},
            tmp_path,
            emit=lambda event: None,
            stop=lambda: False,
            limit=limit,
            record=record,
            keeper=keeper,
            extras=extras,
        )

    return train


class Killed(BaseException):
    """What ends a training in the place of a signal."""


class Shelf:
    """A keeper in memory: snapshots every `every` steps as a file would give them back; ends the training once.

    Where several steps are done at once, either happens at the end of those.
    """

    def __init__(self, every: int, end: int) -> None:
        self.every, self.end, self.last = every, end, 0
        self.snapshot: Snapshot | None = None

    def latest(self) -> Snapshot | None:
        return self.snapshot

    def is_due(self, step: int) -> bool:
        if 0 < self.end <= step:
            self.end = 0
            raise Killed
        return step // self.every > self.last // self.every

    def keep(self, take: Callable[[], Snapshot | None], *, wait: bool = False) -> bool:
        snapshot = take()
        assert snapshot is not None
        self.last = snapshot.step
        self.snapshot = replace(snapshot, facts=json.loads(json.dumps(snapshot.facts)))
        return True


@pytest.fixture
def taken_up() -> Callable[..., TrainResult]:
    """Run a training with `train(keeper=..)` that ends after `end` steps, and again from what was kept of it."""

    def again(train: Callable[..., TrainResult], *, every: int, end: int) -> TrainResult:
        shelf = Shelf(every, end)
        with pytest.raises(Killed):
            train(keeper=shelf)
        kept = shelf.last
        result = train(keeper=shelf)
        assert end - 2 * every < kept < end and result.continued == [kept]
        return result

    return again


@pytest.fixture
def assert_equal_to_the_bit() -> Callable[[TrainResult, TrainResult], None]:
    """Compare all that two trainings came to."""

    def check(first: TrainResult, second: TrainResult) -> None:
        assert json.dumps(first.history) == json.dumps(second.history)
        assert (first.steps, first.kept, len(first.checkpoints)) == (second.steps, second.kept, len(second.checkpoints))
        for one, other in zip([first, *first.checkpoints], [second, *second.checkpoints], strict=True):
            for x, y in zip(one.weights, other.weights, strict=True):
                np.testing.assert_array_equal(x, y)

    return check
