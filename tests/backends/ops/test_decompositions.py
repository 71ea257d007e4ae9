"""What is pinned of decompositions, alignments, slices and the beta distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from etude.backends.ops.table import OperandError
from etude.backends.program.builder import Builder
from etude.backends.program.types import TensorType

FRAMEWORKS = ("numpy", "torch", "jax")


def evaluate(harness: Any, framework: str, name: str, *values: Any, **attributes: Any) -> list[np.ndarray]:
    """The results of one operation on arrays."""
    build = Builder("single")
    types = [TensorType(str(value.dtype), value.shape) for value in values]  # type: ignore[arg-type]
    operands = [build.input(f"x{i}", kind) for i, kind in enumerate(types)]
    results = build.apply(name, operands, harness.complete(name, attributes))
    program = build.build([(f"y{i}", value) for i, value in enumerate(results)])
    given = [harness.to_framework(framework, value) for value in values]
    return [harness.to_numpy(result) for result in harness.run(program, framework, given, 0)]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_largest_component_of_a_vector_is_positive(harness: Any, framework: str) -> None:
    x = np.random.RandomState(0).normal(size=(20, 4, 3)).astype(np.float32)
    square = x[:, :3] + np.swapaxes(x[:, :3], -1, -2)
    values, vectors = evaluate(harness, framework, "eigh", square)
    u, s, v = evaluate(harness, framework, "svd", x)

    np.testing.assert_allclose(vectors * values[:, None] @ np.swapaxes(vectors, -1, -2), square, atol=1e-4)
    np.testing.assert_allclose((u * s[:, None]) @ v, x, atol=1e-4)
    assert np.all(np.diff(values) >= 0) and np.all(np.diff(s) <= 0)
    for columns in (vectors, u):
        places = np.abs(columns).argmax(axis=-2, keepdims=True)
        assert np.all(np.take_along_axis(columns, places, axis=-2) > 0)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_matrix_is_made_symmetric_before_its_eigenvalues_are_found(harness: Any, framework: str) -> None:
    x = np.array([[1, 4], [0, 1]], np.float32)
    values, _ = evaluate(harness, framework, "eigh", x)

    np.testing.assert_allclose(values, [-1, 3], atol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_ctc_is_that_of_torch(harness: Any, framework: str) -> None:
    random = np.random.RandomState(1)
    logits = random.normal(size=(5, 7, 4)).astype(np.float32)
    labels = random.randint(1, 4, (5, 3)).astype(np.int32)
    length, count = np.array([7, 6, 5, 7, 6], np.int32), np.array([3, 1, 2, 0, 3], np.int32)
    (found,) = evaluate(
        harness, framework, "ctc", logits, labels, length, count, has=("logits", "labels", "length", "label_length")
    )
    expected = torch.nn.functional.ctc_loss(
        torch.log_softmax(torch.from_numpy(logits), -1).transpose(0, 1),
        torch.from_numpy(labels).long(),
        torch.from_numpy(length).long(),
        torch.from_numpy(count).long(),
        reduction="none",
    )
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_labels_that_do_not_fit_have_a_large_finite_loss(harness: Any, framework: str) -> None:
    logits, labels = np.zeros((2, 3), np.float32), np.array([1, 1], np.int32)  # a blank would have to stand between
    (found,) = evaluate(harness, framework, "ctc", logits, labels, has=("logits", "labels"))

    assert np.isfinite(found) and found > 1e29


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("start", "first"), [(-3, 0), (1, 1), (9, 3)])
def test_a_slice_lies_inside(harness: Any, framework: str, start: int, first: int) -> None:
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    (found,) = evaluate(harness, framework, "slice_at", x, np.array(start, np.int32), length=2)

    np.testing.assert_array_equal(found, x[first : first + 2])


@pytest.mark.parametrize(("a", "b"), [(0.2, 0.2), (1.0, 1.0), (2.0, 5.0), (0.4, 3.0)])
def test_beta_has_its_mean_and_variance(harness: Any, a: float, b: float) -> None:
    count = 20_000
    (found,) = evaluate(harness, "numpy", "beta", np.float32(a), np.float32(b), shape=(count,), site=0)
    variance = a * b / ((a + b) ** 2 * (a + b + 1))

    assert abs(found.mean() - a / (a + b)) < 5 * np.sqrt(variance / count)
    assert abs(found.var() / variance - 1) < 0.05
    assert found.min() >= 0 and found.max() <= 1


def test_a_tensor_has_even_lists() -> None:
    for values in ((1.0, (2.0,)), ((1.0, 2.0), (3.0,)), ()):
        with pytest.raises(OperandError):
            Builder("single").apply("tensor", [], {"values": values})
