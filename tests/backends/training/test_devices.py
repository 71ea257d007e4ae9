from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import torch

from etude.backends.base import load
from etude.backends.jax.devices import compiled_folder

TRAIN_AND_HASH = """
import hashlib, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import blobs, train_spec
from etude.backends.base import load

make = getattr(train_spec, "__wrapped__", None) or train_spec.__pytest_wrapped__.obj
spec = make()(dropout=0.2, noise=0.1)
backend = load("jax", device="cpu", threads=1)
result = backend.train(spec, *blobs(200, 1), blobs(90, 2), {}, Path(sys.argv[2]), lambda event: None, lambda: False)
print(hashlib.sha256(b"".join(weight.tobytes() for weight in result.weights)).hexdigest())
"""


def test_code_that_was_compiled_by_an_earlier_process_gives_the_same_bits(tmp_path: Path) -> None:
    def run() -> str:
        arguments = [sys.executable, "-c", TRAIN_AND_HASH, str(Path(__file__).parent), str(tmp_path)]
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
        return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True).stdout

    first = run()
    compiled = sorted(path.name for path in tmp_path.glob("etude/xla-*/*step*"))
    second = run()

    assert compiled
    assert sorted(path.name for path in tmp_path.glob("etude/xla-*/*step*")) == compiled
    assert first == second


def test_compiled_code_is_kept_apart_by_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPROC", "1")
    one = compiled_folder()
    monkeypatch.setenv("NPROC", "2")

    assert compiled_folder() != one
    assert compiled_folder().parent == one.parent


def test_torch_runs_on_the_threads_it_is_given_and_deterministically() -> None:
    described = load("torch", device="cpu", threads=1).describe()

    assert described["threads"] == torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


def test_auto_takes_an_accelerator_where_there_is_one() -> None:
    has_gpu = torch.cuda.is_available()

    assert load("torch").describe()["device"] == ("cuda" if has_gpu else "cpu")
    assert load("jax").describe()["device"] == ("cuda" if jax.default_backend() == "gpu" else "cpu")
