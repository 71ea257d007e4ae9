"""What is computed on a mesh is what one device computes, each device has its part of it, and too large a mesh is told.

With ETUDE_ALL_MESHES=1 in the environment every distinct training of every example does some steps; that takes minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import TooFewDevicesError, load
from etude.backends.meshes import MeshShape
from etude.backends.numerics import Numerics
from etude.runtime.executors.local import host_devices

FOLDER = Path(__file__).parents[3] / "examples"
SOME = ("gan.etude", "papers/icl-linear-regression-tasks.etude")
RECIPES = sorted(FOLDER.rglob("*.etude")) if os.environ.get("ETUDE_ALL_MESHES") else [FOLDER / name for name in SOME]
CLOSE = {"rtol": 1e-4, "atol": 1e-5, "equal_nan": True}


@pytest.fixture(scope="module")
def found() -> Any:
    """What `on_a_mesh.py` prints."""
    flags = " ".join([*os.environ.get("XLA_FLAGS", "").split(), *host_devices(4)])
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
    folder = str(Path(__file__).parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-W", "error", str(Path(folder, "on_a_mesh.py")), *map(str, RECIPES)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_each_step_of_an_example_has_the_losses_of_one_device(found: Any) -> None:
    assert len(found["examples"]) >= len(RECIPES)
    for name, (alone, shared) in found["examples"].items():
        for one, other in zip(alone, shared, strict=True):
            np.testing.assert_allclose([*other.values()], [*one.values()], **CLOSE, err_msg=name)


@pytest.mark.parametrize("way", ["plain", "parts", "odd", "native", "fed", "rows"])
def test_numbers_do_not_depend_on_the_mesh(found: Any, way: str) -> None:
    alone, shared = found[way]
    np.testing.assert_allclose(shared, alone, **CLOSE)


def test_each_device_holds_its_part_of_weights_and_of_what_the_optimizer_keeps(found: Any) -> None:
    held = sorted(found["layout"]["held"].values())
    assert held == [[3], [8], [8, 3], [8, 8]]  # of [3], [16], [16, 3] and [8, 16]: three classes cannot be cut in two
    assert [shape for shape in held if found["layout"]["moments"].count(shape) == 2] == held


def test_a_step_is_compiled_once_and_several_at_once_come_to_the_same(found: Any) -> None:
    assert found["layout"]["compiled"] == 1
    assert found["layout"]["chunks"]


def test_each_device_computes_its_part_of_a_batch_also_of_one_in_parts(found: Any) -> None:
    whole, shared, whole_parts, shared_parts = found["flops"]
    assert shared < 0.5 * whole
    assert shared_parts < 0.5 * whole_parts


def test_a_mesh_of_more_devices_than_there_are_is_told_with_both_numbers() -> None:
    with pytest.raises(TooFewDevicesError, match=r"the mesh takes 64 devices, and jax finds \d+ of kind 'cpu'"):
        load("jax", device="cpu", threads=1, numerics=Numerics(mesh=MeshShape(data=8, model=8)))
