"""The emitted steps on a CUDA device, as they stand, have the losses of the processor. Skipped where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from etude.backends.base import load

TRAIN = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import blobs, train_spec
from etude.backends.base import load
from etude.backends.numerics import Numerics

name, device, numerics, folder = sys.argv[2], sys.argv[3], json.loads(sys.argv[4]), Path(sys.argv[5])
make = getattr(train_spec, "__wrapped__", None) or train_spec.__pytest_wrapped__.obj
spec = make()(dropout=0.2, noise=0.1, penalty=0.1, clip=1.0)
backend = load(name, device=device, threads=1, numerics=Numerics(**numerics))
result = backend.train(spec, *blobs(200, 1), blobs(90, 2), {}, folder, lambda event: None, lambda: False)
rows = backend.rows({"program": spec["valid"]["scores"], **{k: spec[k] for k in ("slots", "seed", "identity")}},
                    *blobs(90, 2), {})
print(json.dumps({"history": result.history, "rows": len(rows["accuracy"]), **backend.describe()}))
"""


@cache
def has_cuda(name: str) -> bool:
    if name == "torch":
        return torch.cuda.is_available()
    code = "import jax; jax.devices('gpu')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def trained(name: str, device: str, folder: Path, **numerics: Any) -> Any:
    arguments = [
        sys.executable,
        "-c",
        TRAIN,
        str(Path(__file__).parent),
        name,
        device,
        json.dumps(numerics),
        str(folder),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(params=["torch", "jax"])
def name(request: pytest.FixtureRequest) -> str:
    if not has_cuda(request.param):
        pytest.skip(f"{request.param} finds no CUDA device here")
    return str(request.param)


def test_a_training_on_cuda_has_the_losses_of_one_on_the_processor(name: str, tmp_path: Path) -> None:
    there, here = trained(name, "cuda", tmp_path), trained(name, "cpu", tmp_path)

    assert (there["device"], here["device"]) == ("cuda", "cpu")
    assert there["rows"] == 90
    for first, second in zip(there["history"], here["history"], strict=True):
        assert first["loss"] == pytest.approx(second["loss"], abs=1e-3)
        assert first["valid.loss"] == pytest.approx(second["valid.loss"], abs=1e-3)


@pytest.mark.parametrize("numerics", [{"precision": "bf16"}, {"random": "native"}])
def test_a_training_on_cuda_learns_in_other_numerics(name: str, numerics: dict[str, str], tmp_path: Path) -> None:
    found = trained(name, "cuda", tmp_path, **numerics)

    assert found["history"][-1]["valid.accuracy"] > 0.9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_weights_and_columns_lie_on_the_device() -> None:
    assert load("torch", device="cuda", threads=1).describe()["device"] == "cuda"
