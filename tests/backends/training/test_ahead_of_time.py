"""What a training step takes is known without running it, and its shapes are those of a run; no TPU is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from etude.backends.jax.ahead_of_time import EXCEEDED, Step
from etude.backends.jax.places import mesh_over
from etude.backends.meshes import MeshShape
from etude.backends.numerics import Numerics

GIB = 2**30


def test_columns_are_resident_where_they_fit_and_else_those_of_a_batch(train_spec: Callable[..., Any]) -> None:
    columns = [Step(train_spec(), rows=1000, memory=memory).columns for memory in (GIB, 1000)]

    assert columns[0]["points"].shape == (1000, 8)
    assert columns[1]["points"].shape == (32, 8)
    assert columns[1]["label"].dtype == np.int32


def test_a_batch_never_has_more_rows_than_there_are(train_spec: Callable[..., Any]) -> None:
    assert Step(train_spec(), rows=20, memory=GIB).batch == 20


def test_the_shapes_are_those_that_a_run_would_give(train_spec: Callable[..., Any]) -> None:
    step = Step(train_spec(dropout=0.2), rows=100, memory=GIB, numerics=Numerics(precision="bf16"))
    given = step.arguments()

    assert list(given) == ["params", "rest", "opt_state", "data", "index", "key", "lr"]
    assert sorted(leaf.shape for leaf in given["params"].values()) == [(3,), (8, 16), (16,), (16, 3)]
    params, opt_state, terms = jax.eval_shape(step.module.step.__wrapped__, *given.values())
    assert jax.tree.structure(params) == jax.tree.structure(given["params"])
    assert jax.tree.structure(opt_state) == jax.tree.structure(given["opt_state"])
    assert terms["loss"].shape == ()


def test_a_batch_is_shared_out_where_every_device_gets_as_much(train_spec: Callable[..., Any]) -> None:
    mesh = mesh_over(jax.devices("cpu")[:1], MeshShape())
    step = Step(train_spec(), rows=100, memory=GIB)

    assert step.is_shared(mesh)
    assert step.placed(mesh)["index"].sharding.spec == PartitionSpec("data")
    assert step.placed(mesh)["params"].keys() == step.arguments()["params"].keys()


@pytest.mark.parametrize(
    "message",
    [
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
        "Used 64.06G of 15.75G hbm. Exceeded hbm capacity by 48.31G.",
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (64.06G) exceeds "
        "available HBM (15.75G).",
    ],
)
def test_what_the_compiler_says_of_too_large_a_program_is_understood(message: str) -> None:
    (found,) = (match for pattern in EXCEEDED if (match := pattern.search(message)))
    assert found.groups() == ("64.06", "G", "15.75", "G")
