"""Every operation, as PyTorch code, stays on the device of what it is given; on a GPU it has the same values.

Without a GPU the `meta` device stands for one. `random` draws the same bits anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest
import torch

from etude.backends.emission.devices import on_device

EXACT = {"uniform", "bernoulli", "randint", "permutation"}


def placed(device: str) -> Callable[[str], str]:
    """Spellings with the device that the emitter would put there."""
    return lambda text: on_device(text).replace("device=device", f'device="{device}"')


def test_an_operation_stays_on_the_device_of_its_operands(case: Any, harness: Any, only_on: Any) -> None:
    given = [torch.from_numpy(value.copy()).to("meta") for value in case.values()]
    with only_on("meta"):
        found = harness.run(case.program(), "torch", given, harness.batch, edit=placed("meta"))
    assert {result.device.type for result in found if isinstance(result, torch.Tensor)} <= {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")
def test_all_operations_have_the_same_values_on_a_gpu_in_torch(harness: Any) -> None:
    def run(case: Any, device: str) -> list[Any]:
        given = [torch.from_numpy(value.copy()).to(device) for value in case.values()]
        return harness.run(case.program(), "torch", given, harness.batch, edit=placed(device))  # type: ignore[no-any-return]

    assert "\n".join(differences(harness, run, "cuda")) == ""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")
def test_all_operations_have_the_same_gradients_on_a_gpu_in_torch(harness: Any) -> None:
    def run(case: Any, device: str) -> list[Any]:
        given = [torch.from_numpy(value.copy()).to(device) for value in case.values()]
        leaves = [each.requires_grad_() for each in given if each.is_floating_point()]
        found = harness.run(case.program(), "torch", given, harness.batch, edit=placed(device))
        parts = [result.sum() for result in found if result.is_floating_point() and result.requires_grad]
        gradients = torch.autograd.grad(sum(parts), leaves, allow_unused=True) if parts else []  # type: ignore[arg-type]
        return [each for each in gradients if each is not None]

    assert "\n".join(differences(harness, run, "cuda", only=lambda case: case.is_differentiable)) == ""


def test_all_operations_have_the_same_values_on_a_gpu_in_jax(harness: Any) -> None:
    if jax.default_backend() != "gpu":
        pytest.skip("jax finds no CUDA device here")

    def run(case: Any, device: str) -> list[Any]:
        with jax.default_device(jax.devices(device)[0]), jax.default_matmul_precision("float32"):
            return harness.run_compiled(case.program(), case.values(), harness.batch)  # type: ignore[no-any-return]

    assert "\n".join(differences(harness, run, "gpu")) == ""


def differences(
    harness: Any, run: Callable[[Any, str], list[Any]], device: str, only: Callable[[Any], bool] = lambda case: True
) -> Iterator[str]:
    """What a device does otherwise than the processor, for each use of an operation."""
    for case in filter(only, harness.cases):
        here, there = run(case, "cpu"), run(case, device)
        for expected, found in zip(map(as_array, here), map(as_array, there), strict=True):
            exact = case.name in EXACT or expected.dtype.kind != "f"
            tolerance = {"rtol": 0.0, "atol": 0.0} if exact else {"rtol": 1e-4, "atol": 1e-5}
            if expected.shape != found.shape or not np.allclose(expected, found, **tolerance, equal_nan=True):
                yield f"{case}: expected {expected.reshape(-1)[:4]}, got {found.reshape(-1)[:4]}"


def as_array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
