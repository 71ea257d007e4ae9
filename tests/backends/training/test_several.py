"""Stages with more than weights and one data set: slow copies, a carried state, a clock, and streams."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend, Rows, TrainResult, load
from etude.backends.batches import JoinedStreams, NoRowsError
from etude.backends.inputs import TrainInputs, initial_weights
from etude.backends.modules import load_source
from etude.backends.parity import compare_train
from etude.backends.program.builder import Builder
from etude.backends.program.dims import b
from etude.backends.program.ir import Child, Literal, Module, Slot, StageProgram, Sub
from etude.backends.program.serialize import program_to_json
from etude.backends.program.types import TensorType
from etude.backends.timetable import Clock
from etude.backends.training import Session

Spec = dict[str, Any]
DECAY = 0.75
POINTS = TensorType("float32", (b, 2))
VECTOR = TensorType("float32", (2,))


def linear() -> Sub:
    build = Builder("linear")
    x = build.input("x", POINTS)
    w = build.weight(_weight())
    return build.build([("", build.apply("matmul", [x, w])[0])])


def _weight() -> Slot:
    return Slot("w", TensorType("float32", (2, 2)), (("kind", "lecun_normal"),))


def several_spec(**settings: Any) -> Spec:
    """A loss of two streams, a slow copy, a sum of all that was seen, and the clock, with these as terms."""
    model, build = linear(), Builder("loss")
    first, second = build.input("first.x", POINTS), build.input("second.x", POINTS)
    step, progress = build.input("@step", TensorType("int32")), build.input("@progress", TensorType("float32"))
    total = build.input("@state.total", VECTOR)
    build.children += [Child("net", model), Child("copy", model)]
    (out,) = build.call(0, [first], [POINTS])
    (aim,) = build.call(1, [second], [POINTS])
    (gap,) = build.apply("sub", [out, build.apply("stop", [aim])[0]])
    everything = {"axis": None, "keep": False}
    (distance,) = build.apply("mean", [build.apply("square", [gap])[0]], everything)
    (sums,) = build.apply("sum", [second], {"axis": 0, "keep": False})
    (seen,) = build.apply("sum", [total], everything)
    (number,) = build.apply("mul", [build.apply("cast", [step], {"dtype": "float32"})[0], Literal(1.0)])
    (share,) = build.apply("mul", [progress, Literal(1.0)])
    (following,) = build.apply("add", [total, sums])
    terms = [("distance", distance), ("seen", seen), ("number", number), ("share", share), ("@state.total", following)]
    modules = (_module(0), _module(1))
    loss = program_to_json(StageProgram(build.build(terms), modules))
    start = Builder("state")
    (zeros,) = start.apply("full", [Literal(0.0)], {"shape": (2,)})
    return {
        "steps": [{"loss": loss, "update": [0], "optimizer": {"name": "sgd", "lr": 0.1}, "every": 1}],
        "slots": [_slot("net.w"), _slot("copy.w")],
        "results": [[0], [1]],
        "names": [["net", ["w"]], ["copy", ["w"]]],
        "schedule": {"name": "constant"},
        "batch": 4,
        "budget": {"epochs": 3},
        "clip": None,
        "valid": None,
        "keep": "last",
        "score": None,
        "patience": None,
        "seed": 3,
        "identity": "00c0ffee",
        "inputs": {"on": {"first": 0, "second": 1}, "valid": None},
        "ema": [[1, 0, DECAY]],
        "state": {"names": ["total"], "init": program_to_json(StageProgram(start.build([("total", zeros)]), ()))},
    } | settings


def _module(slot: int) -> Module:
    return Module((slot,))


def _slot(path: str) -> Spec:
    fresh = {"fresh": {"structure": "5eed5eed", "ordinal": 0, "seed": 0}}
    return {"shape": [2, 2], "dtype": "float32", "path": path, "init": {"kind": "lecun_normal"}, "source": fresh}


def points(rows: int, seed: int) -> Rows:
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, 2**63, rows, dtype=np.uint64)
    return {"x": generator.normal(size=(rows, 2)).astype(np.float32)}, ids


FIRST, SECOND = points(12, 1), points(6, 2)
COLUMNS = {"first.x": FIRST[0]["x"], "second.x": SECOND[0]["x"]}
IDS = {"first": FIRST[1], "second": SECOND[1]}


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., TrainResult]:
    def run(backend: Backend, spec: Spec, ids: Any = IDS, **settings: Any) -> TrainResult:
        given = (spec, COLUMNS, ids, None, {}, tmp_path)
        return backend.train(*given, emit=lambda e: None, stop=lambda: False, record="step", **settings)

    return run


def test_a_step_is_the_hand_computation(backend: Backend, train: Callable[..., TrainResult]) -> None:
    spec = several_spec()
    result = train(backend, spec)
    net, copy = (weight.astype(np.float64) for weight in initial_weights(spec["slots"], {}))
    streams, total = JoinedStreams(IDS, 4, spec["seed"]), np.zeros(2)

    assert result.steps == 9
    np.testing.assert_array_equal(net, copy)
    for step, row in enumerate(result.history):
        index = streams.indices(step)
        x, y = COLUMNS["first.x"][index["first"]], COLUMNS["second.x"][index["second"]]
        gap = x @ net - y @ copy
        expected = {"distance": np.mean(gap**2), "seen": total.sum(), "number": step, "share": step / 9}
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-5)
        net = net - 0.1 * x.T @ (2 * gap / gap.size)
        copy = DECAY * copy + (1 - DECAY) * net
        total = total + y.sum(0)
    for found, weight in zip(result.weights, (net, copy), strict=True):
        np.testing.assert_allclose(found, weight, atol=1e-5)


def test_the_backends_agree_over_ten_steps() -> None:
    both = [load(name, device="cpu", threads=1) for name in ("torch", "jax")]

    found = compare_train(both, several_spec(budget={"steps": 10}), COLUMNS, IDS, None, {}, steps=10)

    assert found["steps"] == 10
    assert found["loss_difference"] <= 1e-5
    assert found["weights_difference"] <= 1e-5


def test_players_share_the_state_and_are_called_by_their_names(
    backend: Backend, train: Callable[..., TrainResult]
) -> None:
    spec = several_spec()
    player = spec["steps"][0]
    rows = train(backend, spec | {"steps": [player | {"name": "one"}, player | {"name": "two", "every": 2}]}).history

    assert {"one.loss", "two.loss", "one.seen", "two.seen"} <= rows[0].keys()
    assert "two.loss" not in rows[1]
    streams, total = JoinedStreams(IDS, 4, spec["seed"]), 0.0
    for step, row in enumerate(rows):
        seen = COLUMNS["second.x"][streams.indices(step)["second"]].sum()
        assert row["one.seen"] == pytest.approx(total, abs=1e-4)
        if step % 2 == 0:
            assert row["two.seen"] == pytest.approx(total + seen, abs=1e-4)
        total += seen * (2 if step % 2 == 0 else 1)


def test_two_players_of_one_name_have_columns_of_their_own(backend: Backend, train: Callable[..., TrainResult]) -> None:
    player = several_spec()["steps"][0] | {"name": "net"}

    (row,) = train(backend, several_spec(steps=[player, player], budget={"steps": 1})).history

    assert {"net.0.loss", "net.1.loss"} <= row.keys()


def test_each_row_of_each_stream_comes_once_in_an_epoch_of_that_stream() -> None:
    streams = JoinedStreams(IDS, 4, seed=3)
    indices = [streams.indices(step) for step in range(6)]

    for name, ids in IDS.items():
        order = np.concatenate([index[name] for index in indices])
        assert all(len(index[name]) == 4 for index in indices)
        for start in range(0, len(order), len(ids)):
            assert sorted(order[start : start + len(ids)]) == list(range(len(ids)))


def test_streams_of_equal_rows_are_not_in_the_same_order() -> None:
    streams = JoinedStreams({"a": FIRST[1], "b": FIRST[1]}, 12, seed=3)

    assert streams.indices(0)["a"].tolist() != streams.indices(0)["b"].tolist()


def test_a_batch_is_as_large_as_the_first_stream_gives_and_spans_epochs_of_a_short_one() -> None:
    streams = JoinedStreams({"long": FIRST[1], "short": SECOND[1][:5]}, 64, seed=3)
    index = streams.indices(1)

    assert (len(index["long"]), len(index["short"])) == (12, 12)
    # positions 12 to 23 of epochs of 5: the last 3 of one, 5 of the next, the first 4 of a third
    assert sorted(index["short"][3:8]) == [0, 1, 2, 3, 4]


def test_a_stream_without_rows_is_refused(backend: Backend, train: Callable[..., TrainResult]) -> None:
    with pytest.raises(NoRowsError):
        train(backend, several_spec(), {"first": FIRST[1], "second": SECOND[1][:0]})


@pytest.mark.parametrize("sizes", [(12, 6), (6, 12)])
def test_validation_sees_the_first_stream_once_with_rows_of_the_others(
    backend: Backend, sizes: tuple[int, int], tmp_path: Path
) -> None:
    build = Builder("loss")
    x, y = build.input("first.x", POINTS), build.input("second.x", POINTS)
    build.children.append(Child("net", linear()))
    (out,) = build.call(0, [build.apply("mul", [x, y])[0]], [POINTS])
    loss = build.build([("", build.apply("mean", [out], {"axis": None, "keep": False})[0])])
    program = program_to_json(StageProgram(loss, (_module(0),)))
    valid = {"loss": program, "scores": None, "every": {"epochs": 1}}
    spec = several_spec(valid=valid, budget={"steps": 1})
    columns = {"first.x": points(sizes[0], 5)[0]["x"], "second.x": points(sizes[1], 6)[0]["x"]}
    ids = {"first": points(sizes[0], 5)[1], "second": points(sizes[1], 6)[1]}

    result = backend.train(spec, COLUMNS, IDS, (columns, ids), {}, tmp_path, emit=lambda e: None, stop=lambda: False)

    partners = columns["second.x"][np.arange(sizes[0]) % sizes[1]]
    expected = np.mean((columns["first.x"] * partners) @ result.weights[0])
    assert result.history[-1]["valid.loss"] == pytest.approx(expected, abs=1e-5)


def opened(framework: str) -> Session:
    """A session of the stage, before its first step."""
    backend = f"etude.backends.{framework}"
    emitted = import_module(f"{backend}.emit").emit_train(several_spec())
    session = getattr(import_module(f"{backend}.train"), f"{framework.capitalize()}Session")
    device = import_module(f"{backend}.devices").prepare("cpu", 1)
    inputs = TrainInputs.of(several_spec(), COLUMNS, None, {})
    place = device if framework == "torch" else import_module(f"{backend}.places").Places(device)
    made: Session = session(load_source(emitted.source), emitted.slots, inputs, place)
    return made


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_run_taken_up_from_its_state_has_the_slow_copies_and_what_was_carried(framework: str) -> None:
    streams = JoinedStreams(IDS, 4, seed=3)
    whole, half, rest = (opened(framework) for _ in range(3))

    def go(session: Session, steps: range) -> None:
        for step in steps:
            session.step(streams.indices(step), step, [0.1], Clock(step, step / 8))

    go(whole, range(8))
    go(half, range(4))
    rest.restore(half.state())
    go(rest, range(4, 8))

    assert whole.losses()[4:] == rest.losses()
    first, second = whole.state(), rest.state()
    assert first.keys() == second.keys() >= {"weights.0", "weights.1", "state.total"}
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_a_killed_training_of_players_with_all_this_ends_with_the_same_bits(
    backend: Backend, train: Callable[..., TrainResult], taken_up: Any, assert_equal_to_the_bit: Any
) -> None:
    player = several_spec()["steps"][0]
    other = player | {"name": "two", "every": 2, "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1}}
    spec = several_spec(steps=[player | {"name": "one"}, other])

    rest = taken_up(lambda keeper: train(backend, spec, keeper=keeper), every=3, end=5)

    assert_equal_to_the_bit(rest, train(backend, spec))
