"""Precision, compiled losses and native random numbers: what they change, and what they leave."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from etude.backends.base import Backend, DeviceMissingError, Rows, TrainResult, load
from etude.backends.modules import load_source
from etude.backends.numerics import Numerics
from etude.backends.torch.backend import TorchBackend
from etude.backends.torch.compiling import compile_losses
from etude.backends.torch.emit import emit_train

Spec = dict[str, Any]
Make = Callable[..., Spec]
Run = Callable[..., TrainResult]
NAMES = ("torch", "jax")
BF16 = Numerics(precision="bf16")
NATIVE = Numerics(random="native")
ROUNDING = 2**-8  # of one number in bfloat16


def backends(numerics: Numerics) -> list[Backend]:
    return [load(name, device="cpu", threads=1, numerics=numerics) for name in NAMES]


def losses(result: TrainResult) -> Any:
    return np.array([row["loss"] for row in result.history])


def test_both_backends_agree_in_bf16_up_to_its_rounding(train_spec: Make, run: Run) -> None:
    spec = train_spec(dropout=0.2, noise=0.1, penalty=0.1, clip=1.0)
    exact = run(load("torch", device="cpu", threads=1), spec, limit=10, record="step")
    first, second = (run(backend, spec, limit=10, record="step") for backend in backends(BF16))

    assert np.abs(losses(first) - losses(second)).max() < 2 * ROUNDING * losses(exact).max()
    assert 0 < np.abs(losses(first) - losses(exact)).max() < 4 * ROUNDING * losses(exact).max()


def test_bf16_learns_as_well_and_keeps_its_weights_in_float32(train_spec: Make, run: Run) -> None:
    for backend in backends(BF16):
        result = run(backend, train_spec())
        assert {weight.dtype for weight in result.weights} == {np.dtype("float32")}
        assert result.history[-1]["valid.accuracy"] > 0.9
        # a weight that was ever stored in bfloat16 would have its last bits empty
        assert any((weight.view(np.uint32) & 0xFFFF).any() for weight in result.weights)


@pytest.mark.parametrize("name", NAMES)
def test_only_products_are_rounded(name: str, train_spec: Make) -> None:
    source = load(name, device="cpu", threads=1, numerics=BF16).source(train_spec())
    low = [line for line in source.splitlines() if "bfloat16" in line]

    assert low
    assert all("@" in line for line in low)
    assert "bfloat16" not in load(name, device="cpu", threads=1).source(train_spec())


def test_row_programs_are_rounded_too(rows_spec: Spec, data: Rows) -> None:
    for backend in backends(BF16):
        assert "bfloat16" in backend.source(rows_spec)
        assert backend.rows(rows_spec, *data, {})["accuracy"].shape == (200,)


@pytest.mark.parametrize("name", NAMES)
def test_native_numbers_repeat_and_are_not_the_portable_ones(name: str, train_spec: Make, run: Run) -> None:
    spec = train_spec(dropout=0.2, noise=0.1)
    native, portable = (load(name, device="cpu", threads=1, numerics=each) for each in (NATIVE, Numerics()))
    first, again, other = (run(backend, spec, limit=5, record="step") for backend in (native, native, portable))

    assert losses(first).tolist() == losses(again).tolist()
    assert np.abs(losses(first) - losses(other)).max() > 1e-3
    assert run(native, spec).history[-1]["valid.accuracy"] > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_native_numbers_have_the_right_distributions(name: str) -> None:
    module: ModuleType = __import__(f"etude.backends.{name}.native_random", fromlist=["uniform"])
    like: Any = torch.ones if name == "torch" else np.ones
    uniform, normal = (np.asarray(draw(7, (100, 200))) for draw in (module.uniform, module.normal))

    assert (uniform.min() >= 0, uniform.max() < 1) == (True, True)
    assert abs(uniform.mean() - 0.5) < 0.01
    assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.03
    assert abs(np.asarray(module.bernoulli(3, 0.25, (20_000,))).mean() - 0.25) < 0.02
    assert abs(np.asarray(module.dropout(5, like((20_000,)), 0.5)).mean() - 1) < 0.05
    assert np.asarray(module.categorical(2, like((500, 4)))).max() == 3
    assert np.asarray(module.gumbel(1, (10,))).shape == (10,)


def test_native_numbers_within_mapped_gradients_stay_portable() -> None:
    from etude.backends.torch import native_random, random

    def noisy(x: torch.Tensor) -> torch.Tensor:
        return (x * native_random.normal(3, ())).sum()

    slopes = torch.vmap(torch.func.grad(noisy))(torch.ones(4))
    assert slopes.tolist() == [float(random.normal(3, ()))] * 4


def test_a_compiled_loss_is_one_graph_and_gives_the_same_numbers(train_spec: Make, run: Run) -> None:
    """Captured as for a compiler, and run without one: compiling takes a minute and a C++ compiler."""
    spec = train_spec(dropout=0.2, noise=0.1)
    plain = run(TorchBackend("cpu", 1), spec, limit=4, record="step")
    emitted = emit_train(spec)
    module = load_source(emitted.source)
    compile_losses(module, compiler="eager")
    captured = run_with(module, spec, run)

    assert losses(captured).tolist() == losses(plain).tolist()


def run_with(module: ModuleType, spec: Spec, run: Run) -> TrainResult:
    """Train with a module in the place of the one that the backend would load."""
    import etude.backends.torch.backend as backend

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "load_source", lambda source, path=None: module)
        return run(TorchBackend("cpu", 1), spec, limit=4, record="step")


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch about itself
def test_compiled_steps_give_the_same_numbers(train_spec: Make, run: Run) -> None:
    spec = train_spec(dropout=0.2, noise=0.1)
    plain, compiled = (
        run(load("torch", device="cpu", threads=1, numerics=Numerics(compile=each)), spec) for each in (False, True)
    )
    np.testing.assert_allclose(losses(compiled), losses(plain), rtol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(DeviceMissingError, match="torch finds no device 'cuda'"):
        load("torch", device="cuda", threads=1)


def test_what_a_run_records_says_what_is_not_as_usual() -> None:
    described = load("torch", device="cpu", threads=1, numerics=BF16).describe()
    assert described["precision"] == "bf16"
    assert "precision" not in load("torch", device="cpu", threads=1).describe()
