"""The emitted steps run on a CUDA device as they stand, on PyTorch and on JAX. Skipped where there is none.

On a machine with one `pytest tests/backends/training/test_cuda.py` proves it for every example: each distinct step is
done once with the same numbers on both devices, and each recipe is run through, its trainings cut to a few steps. One
small training is killed, continued, read ahead and run out of memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

from etude.backends.base import Array, Backend, TrainResult, load
from etude.backends.jax.ahead_of_time import Step
from etude.backends.modules import load_source
from etude.backends.torch.emit import emit_train
from etude.backends.torch.rows import load_models
from etude.runtime.compiling import compile_file
from etude.runtime.store import Store
from etude.runtime.worker import failure

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").rglob("*.etude"))
MEMORY = 16 << 30
SMOKE_STEPS = "5"
JUDGED = {0, 3}  # claims hold or fail; after so few steps either is fine
CLOSE = {"rtol": 1e-3, "atol": 1e-4, "equal_nan": True}
FAR = {"rtol": 0.05, "atol": 0.05, "equal_nan": True}  # roundings grow from step to step

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


def distinct_specs(recipe: Path) -> list[Any]:
    """The spec of each training of a recipe, of those with equal programs the first."""
    workflow = compile_file(recipe).workflow
    assert workflow is not None
    found = {}
    for stage in workflow.stages.values():
        if stage.kind == "train":
            found.setdefault(tuple(step["loss"]["digest"] for step in stage.spec["steps"]), stage.spec)
    return list(found.values())


def drawn(shape: Any, dtype: Any, generator: np.random.RandomState) -> Array:
    """Numbers for a column, a state or a weight: labels below two are below any number of classes."""
    kind = np.dtype(dtype).kind
    if kind == "f":
        return np.asarray(generator.uniform(0, 1, shape), dtype)
    return np.asarray(generator.randint(0, 2, shape)).astype(dtype)


def arguments(spec: Any) -> tuple[Step, Any, list[Array]]:
    """A step, what it takes as arrays, and the weights of its slots."""
    step, generator = Step(spec, rows=None, memory=MEMORY), np.random.RandomState(7)
    given = {  # one by one: mapped over as a whole, their order would be lost
        name: jax.tree.map(lambda leaf: drawn(leaf.shape, leaf.dtype, generator), tree)
        for name, tree in step.arguments().items()
    }
    weights = [np.asarray(generator.normal(0, 0.1, slot["shape"]), slot["dtype"]) for slot in spec["slots"]]
    return step, given, weights


def torch_step(spec: Any, device: str) -> tuple[dict[str, float], list[Array]]:
    """The terms of one step, and the weights behind it."""
    load("torch", device=device, threads=1)  # which sets what is computed how
    step, given, weights = arguments(spec)
    emitted = emit_train(spec)
    module, place = load_source(emitted.source), torch.device(device)
    models = load_models(module, emitted.slots, weights, place)
    optimizer, players = module.optimizers(models), len(spec["steps"])
    columns = {**given["data"], **given.get("clock", {})}
    batch = {
        name: torch.from_numpy(np.array(value[: step.batch] if value.ndim else value))
        for name, value in columns.items()
    }
    state = (
        [{n: torch.from_numpy(np.array(v)).to(place) for n, v in given["state"].items()}] if "state" in given else []
    )
    on_device = {name: value.to(place) for name, value in batch.items()}
    found = module.step(models, optimizer, on_device, *state, 7, 0.01 if players == 1 else (0.01,) * players)
    terms = found[0] if isinstance(found, tuple) else found
    return {n: float(v) for n, v in terms.items()}, [weight.detach().cpu().numpy() for weight in models.parameters()]


def jax_step(spec: Any, device: str) -> tuple[dict[str, float], list[Array]]:
    """The same on JAX."""
    place = jax.devices("gpu" if device == "cuda" else device)[0]
    step, given, weights = arguments(spec)
    module = step.module
    with jax.default_matmul_precision("float32"), jax.default_device(place):
        at = {path: weights[slot] for slot, path in step.paths.items()}
        given = {
            n: {path: at[path] for path in tree} if n in ("params", "slow", "rest") else tree
            for n, tree in given.items()
        }
        given["opt_state"] = jax.jit(module.init)(jax.device_put(given["params"], place))
        given["index"] = jax.tree.map(lambda leaf: np.arange(leaf.size, dtype=np.int32), given["index"])
        given["key"] = np.uint32(7)
        given["lr"] = jax.tree.map(lambda leaf: np.float32(0.01), given["lr"])
        params, *_, terms = module.step(*jax.device_put(list(given.values()), place))
    return {n: float(v) for n, v in terms.items()}, [np.asarray(params[path]) for path in sorted(params)]


STEPS: Mapping[str, Callable[[Any, str], tuple[dict[str, float], list[Array]]]] = {"torch": torch_step, "jax": jax_step}


@pytest.fixture
def here(name: str) -> str:
    """The backend in this process, which other tests may have confined to the processor."""
    if name == "jax" and jax.default_backend() != "gpu":
        pytest.skip("jax of this process computes on the processor by now: call this file alone")
    return name


@pytest.mark.parametrize("recipe", EXAMPLES, ids=lambda path: path.stem)
def test_each_step_of_an_example_is_the_same_on_cuda(here: str, recipe: Path) -> None:
    for spec in distinct_specs(recipe):
        found, expected = (STEPS[here](spec, device) for device in ("cuda", "cpu"))
        assert found[0].keys() == expected[0].keys()
        for term, value in found[0].items():
            np.testing.assert_allclose(value, expected[0][term], **CLOSE, err_msg=term)
        # what an optimizer divides by a small second moment turns roundings round: nearly all weights, not every one
        close = [
            np.isclose(one, other, rtol=1e-2, atol=1e-3, equal_nan=True)
            for one, other in zip(found[1], expected[1], strict=True)
        ]
        assert np.concatenate([each.reshape(-1) for each in close]).mean() > 0.99


def smoke_run(recipe: Path, backend: str, target: str, store: Path) -> dict[str, list[dict[str, float]]]:
    """Run a recipe through with few steps; the history of each training by name."""
    command = [sys.executable, "-m", "etude", "run", str(recipe), "--backend", backend, "--target", target, "--json"]
    environment = {**os.environ, "ETUDE_SMOKE_STEPS": SMOKE_STEPS}
    done = subprocess.run([*command, "--store", str(store)], capture_output=True, text=True, env=environment)
    assert done.returncode in JUDGED, done.stderr
    run = json.loads(done.stdout)
    assert run["failed"] == 0
    trained = [stage for stage in run["stages"] if stage["kind"] == "train" and stage["action"] == "run"]
    device = {"gpu": "cuda"}.get(target, target)
    assert trained and {stage["made"]["backend"]["device"] for stage in trained} == {device}
    kept = Store(store)
    return {stage["name"]: kept.read_json(stage["outputs"]["history"]) for stage in trained}


@pytest.mark.parametrize("recipe", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_through_on_cuda_with_the_losses_of_the_processor(
    name: str, recipe: Path, tmp_path: Path
) -> None:
    there, here = (smoke_run(recipe, name, target, tmp_path / target) for target in ("gpu", "cpu"))
    assert there.keys() & here.keys()
    for stage in there.keys() & here.keys():
        for one, other in zip(there[stage], here[stage], strict=True):
            for term in (term for term in one if term.endswith("loss")):
                np.testing.assert_allclose(one[term], other[term], **FAR, err_msg=f"{stage}: {term}")


@pytest.fixture
def on_cuda(here: str) -> Backend:
    return load(here, device="cuda", threads=1)


def test_a_training_on_cuda_goes_on_from_what_was_kept_of_it(
    on_cuda: Backend,
    run: Callable[..., TrainResult],
    taken_up: Callable[..., TrainResult],
    train_spec: Callable[..., Any],
) -> None:
    spec = train_spec(dropout=0.2, noise=0.1, clip=1.0)
    whole = run(on_cuda, spec)
    continued = taken_up(lambda keeper: run(on_cuda, spec, keeper=keeper), every=8, end=20)

    for one, other in zip(whole.weights, continued.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_data_that_is_read_ahead_comes_to_the_numbers_of_data_on_the_device(
    on_cuda: Backend, run: Callable[..., TrainResult], train_spec: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = train_spec(dropout=0.2, noise=0.1)
    resident = run(on_cuda, spec)
    monkeypatch.setenv("ETUDE_RESIDENT_BYTES", "0")
    read = run(on_cuda, spec)

    for one, other in zip(resident.history, read.history, strict=True):
        np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-4)


def test_too_little_memory_on_cuda_is_said_as_such(on_cuda: Backend) -> None:
    memory = on_cuda.memory()
    assert memory is not None and memory > 1 << 30
    with pytest.raises(Exception, match=r"(?i)memory") as caught:  # each framework has its own
        if on_cuda.name == "torch":
            torch.empty(4 * memory, dtype=torch.uint8, device="cuda")
        else:
            jax.block_until_ready(jax.numpy.zeros(4 * memory, "uint8", device=jax.devices("gpu")[0]))
    assert failure(caught.value)["error"] == "OutOfMemory"
    on_cuda.release()
