"""The three spellings of every operation mean the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etude.backends.ops import find, names
from etude.backends.program.dims import evaluate

EXACT = {"uniform", "bernoulli", "randint", "permutation"}


def test_every_operation_has_cases(harness: Any) -> None:
    assert {case.name for case in harness.cases} == set(names())


def test_the_spellings_agree_in_values_dtypes_and_shapes(case: Any, harness: Any) -> None:
    program = case.program()
    values = case.values()
    types = [value.type for _, value in program.outputs]
    expected = harness.run(program, "numpy", values, harness.batch)
    for framework in harness.frameworks:
        inputs = [harness.to_framework(framework, value) for value in values]
        if framework == "jax":
            results = harness.run_compiled(program, inputs, harness.batch)
        else:
            results = harness.run(program, framework, inputs, harness.batch)
        for kind, result, reference in zip(types, results, expected, strict=True):
            shape = tuple(evaluate(dim, harness.batch) for dim in kind.shape)
            assert (str(result.dtype).removeprefix("torch."), tuple(result.shape)) == (kind.dtype, shape), framework
            assert_close(case, harness.to_numpy(result), np.asarray(reference))
        for value, given in zip(case.values(), inputs, strict=True):
            np.testing.assert_array_equal(value, harness.to_numpy(given), "operands must stay as they are")


def assert_close(case: Any, result: np.ndarray, reference: np.ndarray) -> None:
    if result.dtype == np.float32 and case.name not in EXACT:
        np.testing.assert_allclose(result, reference, rtol=2e-5, atol=2e-6)
    else:
        np.testing.assert_array_equal(result, reference)


@pytest.mark.parametrize("name", names())
def test_every_operation_says_what_it_does(name: str) -> None:
    operation = find(name)
    assert operation is not None and operation.doc.endswith(".")
