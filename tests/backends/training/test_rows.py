"""Row programs on each framework, and on numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend, Rows, load
from etude.backends.batches import mix64
from etude.backends.program.builder import Builder
from etude.backends.program.ir import StageProgram
from etude.backends.program.serialize import program_to_json
from etude.backends.program.types import TensorType

Spec = dict[str, Any]


def noisy_spec() -> Spec:
    """Points with noise of their own: a row program without weights."""
    build = Builder("noisy")
    x = build.input("points", TensorType("float32", (8,)))
    (noise,) = build.apply("uniform", [], {"shape": (8,), "low": 0.0, "high": 1.0})
    (moved,) = build.apply("add", [x, noise])
    (size,) = build.apply("sum", [x], {"axis": None, "keep": False})
    program = program_to_json(StageProgram(build.build([("moved", moved), ("size", size)]), ()))
    return {"program": program, "slots": [], "seed": 3, "identity": "00c0ffee"}


def ids(rows: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return mix64(np.arange(rows, dtype=np.uint64))


@pytest.fixture(params=["torch", "jax", "numpy"])
def any_backend(request: pytest.FixtureRequest) -> Backend:
    return load(request.param, device="cpu", threads=1)


def test_a_row_program_gives_an_output_for_every_row(backend: Backend, rows_spec: Spec, data: Rows) -> None:
    accuracy = backend.rows(rows_spec, *data, {})["accuracy"]

    assert (accuracy.shape, accuracy.dtype) == ((200,), np.dtype(bool))
    assert 0.0 < accuracy.mean() < 1.0


def test_rows_do_not_depend_on_the_batch_they_are_in(any_backend: Backend) -> None:
    points = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    everything = any_backend.rows(noisy_spec(), {"points": points}, ids(3000), {})
    some = np.array([2999, 5, 17])
    alone = any_backend.rows(noisy_spec(), {"points": points[some]}, ids(3000)[some], {})

    assert everything["moved"].shape == (3000, 8)
    np.testing.assert_array_equal(everything["moved"][some], alone["moved"])
    np.testing.assert_allclose(everything["size"], points.sum(axis=1), atol=1e-5)


def test_all_frameworks_draw_the_same_bits() -> None:
    points = np.zeros((300, 8), np.float32)

    drawn = [load(name).rows(noisy_spec(), {"points": points}, ids(300), {})["moved"] for name in FRAMEWORKS]

    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert len(np.unique(drawn[0])) > 2390


FRAMEWORKS = ("numpy", "torch", "jax")


def test_seed_and_identity_change_the_draws(any_backend: Backend) -> None:
    points = {"points": np.zeros((10, 8), np.float32)}

    first, *others = (
        any_backend.rows(noisy_spec() | other, points, ids(10), {})["moved"]
        for other in ({}, {"seed": 4}, {"identity": "0123abcd"})
    )

    assert all(not np.any(first == other) for other in others)


def test_no_rows_give_empty_outputs_of_the_right_types(any_backend: Backend) -> None:
    outputs = any_backend.rows(noisy_spec(), {"points": np.zeros((0, 8), np.float32)}, ids(0), {})

    assert {name: (rows.shape, rows.dtype.name) for name, rows in outputs.items()} == {
        "moved": ((0, 8), "float32"),
        "size": ((0,), "float32"),
    }


def test_numpy_runs_no_models(rows_spec: Spec, data: Rows) -> None:
    with pytest.raises(AssertionError, match="without weights"):
        load("numpy").rows(rows_spec, *data, {})
