"""What frameworks leave open or do differently, pinned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etude.backends.ops import find
from etude.backends.ops.spelling import spell
from etude.backends.program.builder import Builder
from etude.backends.program.dims import b
from etude.backends.program.ir import Literal
from etude.backends.program.types import TensorType

FRAMEWORKS = ("numpy", "torch", "jax")
INF = float("inf")


def evaluate(harness: Any, framework: str, name: str, *values: Any, **attributes: Any) -> list[np.ndarray]:
    """The results of an operation on arrays (inputs) and numbers (literals)."""
    build = Builder("single")
    operands = []
    for i, value in enumerate(values):
        is_array = isinstance(value, np.ndarray)
        operands.append(build.input(f"x{i}", TensorType(str(value.dtype), value.shape)) if is_array else Literal(value))
    results = build.apply(name, operands, harness.complete(name, attributes))
    program = build.build([("", value) for value in results])
    inputs = [harness.to_framework(framework, value) for value in values if isinstance(value, np.ndarray)]
    return [harness.to_numpy(result) for result in harness.run(program, framework, inputs, 0)]


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_query_that_may_look_at_nothing_gets_zeros(harness: Any, framework: str) -> None:
    q = np.random.default_rng(0).normal(size=(1, 2, 3, 4)).astype(np.float32)
    mask = np.array([[False, False, False], [True, False, False], [True, True, True]])
    (result,) = evaluate(harness, framework, "attention", q, q, q, mask, has=("q", "k", "v", "mask"))
    np.testing.assert_array_equal(result[:, :, 0], 0)
    np.testing.assert_allclose(result[:, :, 1], q[:, :, 0], rtol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_mean_of_a_loss_over_nothing_is_zero(harness: Any, framework: str) -> None:
    logits, labels, where = np.ones((3, 4), np.float32), ints(0, 1, 2), np.zeros(3, bool)
    has = ("logits", "labels", "where")
    assert evaluate(harness, framework, "cross_entropy", logits, labels, where, has=has)[0] == 0


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_of_equal_values_the_first_is_chosen(harness: Any, framework: str) -> None:
    x = floats(1, 3, 2, 3, 3, 1)
    assert evaluate(harness, framework, "argmax", x)[0] == 1
    assert evaluate(harness, framework, "argmin", x)[0] == 0
    np.testing.assert_array_equal(evaluate(harness, framework, "top_k", x, k=4)[1], [1, 3, 4, 2])
    np.testing.assert_array_equal(evaluate(harness, framework, "argsort", x, descending=True)[0], [1, 3, 4, 2, 0, 5])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_integers_stay_32_bits_wide(harness: Any, framework: str) -> None:
    x = ints(3, 1, 2)
    for name in ("sum", "prod", "max", "argmax", "cumsum", "argsort", "square", "neg"):
        assert evaluate(harness, framework, name, x)[0].dtype == np.int32, name
    assert evaluate(harness, framework, "mean", x)[0].dtype == np.float32
    assert evaluate(harness, framework, "sum", np.array([True, True]))[0] == 2


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_remainders_have_the_sign_of_the_divisor(harness: Any, framework: str) -> None:
    np.testing.assert_array_equal(evaluate(harness, framework, "mod", ints(-7, 7), ints(3, -3))[0], [2, -2])
    np.testing.assert_array_equal(evaluate(harness, framework, "floordiv", ints(-7, 7), ints(3, -3))[0], [-3, -3])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_large_values_neither_overflow_nor_vanish(harness: Any, framework: str) -> None:
    x = floats(-200, -30, 0, 30, 200)
    np.testing.assert_allclose(
        evaluate(harness, framework, "softplus", x)[0], [0, 9.4e-14, np.log(2), 30, 200], rtol=1e-2
    )
    np.testing.assert_allclose(evaluate(harness, framework, "sigmoid", x)[0][[0, 2, 4]], [0, 0.5, 1], atol=1e-30)
    np.testing.assert_allclose(evaluate(harness, framework, "log_softmax", x)[0], x - 200, rtol=1e-6)
    np.testing.assert_allclose(evaluate(harness, framework, "logsumexp", x)[0], 200)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_gelu_is_the_exact_one(harness: Any, framework: str) -> None:
    np.testing.assert_allclose(
        evaluate(harness, framework, "gelu", floats(1, -2))[0], [0.8413447, -0.0455003], rtol=1e-5
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_labels_out_of_range_are_zeros_when_written_out(harness: Any, framework: str) -> None:
    np.testing.assert_array_equal(
        evaluate(harness, framework, "one_hot", ints(1, -1, 2), classes=2)[0], [[0, 1], [0, 0], [0, 0]]
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_infinity_may_stand_in_a_program(harness: Any, framework: str) -> None:
    result = evaluate(harness, framework, "where", np.array([True, False]), floats(1, 2), -INF)[0]
    np.testing.assert_array_equal(result, [1, -INF])


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_stop_blocks_the_gradient_and_corners_have_agreed_slopes(harness: Any, framework: str) -> None:
    x = floats(-1, 0, 2)
    slopes = {"stop": [0, 0, 0], "abs": [-1, 0, 1], "relu": [0, 0, 1], "leaky_relu": [0.01, 0.01, 1], "norm": None}
    for name, expected in slopes.items():
        value = np.zeros(3, np.float32) if expected is None else x
        np.testing.assert_allclose(slope(harness, framework, name, value), expected or [0, 0, 0], err_msg=name)


def slope(harness: Any, framework: str, name: str, x: np.ndarray) -> np.ndarray:
    """The gradient of the sum of an operation's result."""
    build = Builder("single")
    result = build.apply(name, [build.input("x", TensorType("float32", x.shape))], harness.complete(name, {}))[0]
    program = build.build([("", result)])
    if framework == "jax":
        import jax

        return np.asarray(jax.grad(lambda v: harness.run(program, "jax", [v], 0)[0].sum())(x))
    import torch

    value = torch.from_numpy(x.copy()).requires_grad_()
    total = (harness.run(program, "torch", [value], 0)[0] + 0 * value).sum()
    total.backward()
    assert value.grad is not None
    return value.grad.numpy()


def test_a_number_beside_an_operator_stays_a_number() -> None:
    build = Builder("single")
    x = build.input("x", TensorType("float32", (b, 3)))
    build.apply("mul", [build.apply("add", [x, Literal(1.0)])[0], Literal(-2.0)])
    texts = [spell(op, "torch", [text, "1.0"]) for op, text in zip(build.ops, ("x", "x + 1.0"), strict=True)]
    assert texts == ["x + 1.0", "(x + 1.0) * -2.0"]


def test_spellings_read_as_people_write_them() -> None:
    build = Builder("single")
    x = build.input("x", TensorType("float32", (b, 4, 4, 2)))
    complete = {"axis": (1, 2), "keep": False}
    build.apply("mean", [x], complete)
    build.apply("reshape", [x], {"shape": (b, 32)})
    build.apply("rearrange", [x], {"pattern": "b h w c -> b (h w) c", "sizes": None})
    build.apply("zeros", [], {"shape": (b * 2, 3)})
    texts = [spell(op, "torch", ["x"][: len(op.operands)]) for op in build.ops]
    assert texts == [
        "torch.mean(x, dim=(1, 2))",
        "x.reshape(-1, 32)",
        "x.reshape(-1, 16, 2)",
        "torch.zeros((2 * b, 3))",
    ]


def test_the_work_of_an_operation_is_counted_in_the_size_of_the_batch() -> None:
    matmul, add = find("matmul"), find("add")
    assert matmul is not None and add is not None
    types = [TensorType("float32", (b, 3)), TensorType("float32", (3, 4))]
    results = matmul.infer(types, {})
    assert matmul.work(types, results, {}) == b * 24
    assert add.work([results[0], types[1].with_shape((4,))], results, {}) == b * 4
