"""Gradients of the spellings: right on PyTorch by finite differences, and the same on JAX."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import torch

from etude.backends.ops import find

# Values at which an operation has a corner: gradients are a convention there, on which the frameworks must agree.
HAS_CORNERS = "t"


def is_smooth(case: Any) -> bool:
    """Whether finite differences make sense: at corners, next to infinity and through `stop` they do not."""
    has_corner = any(isinstance(text, str) and text[0] == HAS_CORNERS for text in case.operands)
    return not has_corner and case.name != "stop" and case.attributes.get("value") != float("-inf")


def in_double(text: str) -> str:
    """A spelling on PyTorch in double precision."""
    return text.replace(".float()", ".double()")


def split(case: Any) -> tuple[list[int], list[np.ndarray]]:
    """Which tensor operands are floats, and all values."""
    return [i for i, kind in enumerate(case.types) if kind.dtype == "float32"], case.values()


def torch_function(case: Any, harness: Any) -> tuple[Any, list[torch.Tensor]]:
    """The operation as a function of its float operands in double precision."""
    program, (floats, values) = case.program(), split(case)
    tensors = [torch.from_numpy(value.copy()) for value in values]

    def function(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        operands = list(tensors)
        for index, tensor in zip(floats, given, strict=True):
            operands[index] = tensor
        results = harness.run(program, "torch", operands, harness.batch, edit=in_double)
        return tuple(result for result in results if result.is_floating_point())

    texts = [text for text in case.operands if isinstance(text, str)]

    def symmetric(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return function(*((x + x.mT) / 2 if texts[i][0] == "s" else x for i, x in zip(floats, given, strict=True)))

    return symmetric, [tensors[i].double().requires_grad_() for i in floats]


def test_gradients_on_torch_are_those_of_finite_differences(differentiable_case: Any, harness: Any) -> None:
    case = differentiable_case
    if not is_smooth(case):
        pytest.skip("finite differences do not apply")
    function, inputs = torch_function(case, harness)
    assert torch.autograd.gradcheck(function, inputs, eps=1e-6, atol=1e-4, rtol=1e-3, fast_mode=True)


def test_second_gradients_on_torch_are_those_of_finite_differences(differentiable_case: Any, harness: Any) -> None:
    case = differentiable_case
    operation = find(case.name)
    assert operation is not None
    if not is_smooth(case) or not operation.twice_differentiable:
        pytest.skip("no second gradient is promised here")
    function, inputs = torch_function(case, harness)
    if not any(result.requires_grad for result in function(*inputs)):
        pytest.skip("constant")
    assert torch.autograd.gradgradcheck(function, inputs, eps=1e-6, atol=1e-3, rtol=1e-2, fast_mode=True)


def waves(shape: Any, start: int) -> np.ndarray:
    """Fixed numbers to weigh results with."""
    return np.cos(start + np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)


def torch_total(case: Any, harness: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A weighted sum of the results, and the float operands."""
    floats, values = split(case)
    tensors = [torch.from_numpy(value.copy()) for value in values]
    learned = [tensors[i].requires_grad_() for i in floats]
    results = harness.run(case.program(), "torch", tensors, harness.batch)
    parts = [(r * torch.from_numpy(waves(r.shape, 0))).sum() for r in results if r.is_floating_point()]
    return torch.stack(parts).sum() + 0 * sum(x.sum() for x in learned), learned


def jax_total(case: Any, harness: Any) -> tuple[Any, list[np.ndarray]]:
    """The same as a function of the float operands."""
    floats, values = split(case)

    def function(*given: jax.Array) -> Any:
        operands = [jax.numpy.asarray(value) for value in values]
        for index, array in zip(floats, given, strict=True):
            operands[index] = array
        results = harness.run(case.program(), "jax", operands, harness.batch)
        return sum((r * waves(r.shape, 0)).sum() for r in results if r.dtype == np.float32)

    return function, [values[i] for i in floats]


def assert_agree(harness: Any, function: Any, given: list[np.ndarray], expected: Any, tolerance: float) -> None:
    gradient = jax.jit(jax.grad(function, argnums=tuple(range(len(given)))), compiler_options=harness.quickly)
    for found, reference in zip(gradient(*given), expected, strict=True):
        np.testing.assert_allclose(found, reference.numpy(), rtol=tolerance, atol=tolerance / 10)


def test_gradients_on_torch_and_jax_agree(differentiable_case: Any, harness: Any) -> None:
    total, learned = torch_total(differentiable_case, harness)
    function, given = jax_total(differentiable_case, harness)
    assert_agree(harness, function, given, torch.autograd.grad(total, learned), 2e-4)


def test_second_gradients_on_torch_and_jax_agree(differentiable_case: Any, harness: Any) -> None:
    operation = find(differentiable_case.name)
    assert operation is not None
    if not is_smooth(differentiable_case) or not operation.twice_differentiable:
        pytest.skip("no second gradient is promised here")
    total, learned = torch_total(differentiable_case, harness)
    slopes = torch.autograd.grad(total, learned, create_graph=True)
    product = sum((g * torch.from_numpy(waves(g.shape, 1))).sum() for g in slopes)
    expected = torch.autograd.grad(product + 0 * sum(x.sum() for x in learned), learned)
    function, given = jax_total(differentiable_case, harness)

    def directional(*values: jax.Array) -> Any:
        slopes = jax.grad(function, argnums=tuple(range(len(given))))(*values)
        return sum((g * waves(g.shape, 1)).sum() for g in slopes)

    assert_agree(harness, directional, given, expected, 1e-3)
