"""The row rule of every operation: on a batch of rows it does what it does on each row."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest

from etude.backends.program.builder import Builder
from etude.backends.program.ir import Literal, Operand, Slot, Sub
from etude.backends.program.rows import vectorize

ROWS = np.array([7, 4_000_000_000, 7, 123], np.uint32)  # identities, one of them twice
KEY = 99
# Kernels and tables are shared by all rows.
SHARED = {("conv", 1), ("conv", 2), ("conv_transpose", 1), ("conv_transpose", 2)}


def row_program(case: Any, batched: tuple[bool, ...]) -> Sub:
    """The operation in a row program; operands that do not depend on the row are weights."""
    build = Builder("row")
    operands: list[Operand] = []
    types, flags = iter(case.types), iter(batched)
    for index, item in enumerate(case.operands):
        if not isinstance(item, str):
            operands.append(Literal(item))
            continue
        kind, is_batched = next(types), next(flags)
        operands.append(build.input(f"x{index}", kind) if is_batched else build.weight(Slot(f"w{index}", kind, ())))
    results = build.apply(case.name, operands, case.attributes)
    return build.build([(f"y{i}", value) for i, value in enumerate(results)])


def choices(case: Any) -> list[tuple[bool, ...]]:
    """Which tensor operands may depend on the row: every choice but those that an operation refuses."""
    count = len(case.types)
    kept = [
        c
        for c in product([True, False], repeat=count)
        if not any(c[i] for i in range(count) if (case.name, i) in SHARED)
    ]
    return [c for c in kept if any(c) or is_random(case)]


def is_random(case: Any) -> bool:
    return row_program(case, (True,) * len(case.types)).is_random


def values_of(case: Any) -> list[list[np.ndarray]]:
    """For each tensor operand, its values in each row."""
    return [list(rows) for rows in zip(*(case.values(seed=row) for row in range(len(ROWS))), strict=True)]


def one_by_one(harness: Any, program: Sub, batched: tuple[bool, ...], values: Any) -> list[np.ndarray]:
    """The outputs for each row on its own, stacked; a random operation draws with the key folded by the row."""
    weights = [rows[0] for rows, is_batched in zip(values, batched, strict=True) if not is_batched]
    results = []
    for row in range(len(ROWS)):
        inputs = [rows[row] for rows, is_batched in zip(values, batched, strict=True) if is_batched]
        results.append(harness.run(program, "numpy", inputs, 0, weights, KEY, edit=partial(by_row, row)))
    return [np.stack([np.asarray(item) for item in items]) for items in zip(*results, strict=True)]


def by_row(row: int, text: str) -> str:
    """Fold the row's identity into the key of the operation."""
    return text.replace("random.fold(key, 0)", f"random.fold(random.fold(key, 0), {int(ROWS[row])})")


def at_once(
    harness: Any, program: Sub, batched: tuple[bool, ...], values: Any, framework: str, order: Any
) -> list[Any]:
    """The outputs of the vectorised program on the rows in `order`."""
    weights = [rows[0] for rows, is_batched in zip(values, batched, strict=True) if not is_batched]
    inputs = [np.stack(rows)[order] for rows, is_batched in zip(values, batched, strict=True) if is_batched]
    inputs += [ROWS[order]] if program.is_random else []
    given = [harness.to_framework(framework, value) for value in inputs]
    shared = [harness.to_framework(framework, value) for value in weights]
    if framework == "jax":
        results = harness.run_compiled(vectorize(program), given, len(ROWS[order]), shared, KEY)
    else:
        results = harness.run(vectorize(program), framework, given, len(ROWS[order]), shared, KEY)
    return [harness.to_numpy(result) for result in results]


def assert_rows(case: Any, results: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for result, reference in zip(results, expected, strict=True):
        assert result.shape == reference.shape
        if result.dtype == np.float32:
            np.testing.assert_allclose(result, reference, rtol=3e-5, atol=3e-6)
        else:
            np.testing.assert_array_equal(result, reference)


def test_the_batch_is_what_each_row_is(row_case: Any, harness: Any) -> None:
    values = values_of(row_case)
    for batched in choices(row_case):
        program = row_program(row_case, batched)
        expected = one_by_one(harness, program, batched, values)
        assert_rows(row_case, at_once(harness, program, batched, values, "numpy", slice(None)), expected)


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_frameworks_agree_on_the_batch(row_case: Any, harness: Any, framework: str) -> None:
    values = values_of(row_case)
    for batched in choices(row_case)[:1]:
        program = row_program(row_case, batched)
        expected = at_once(harness, program, batched, values, "numpy", slice(None))
        assert_rows(row_case, at_once(harness, program, batched, values, framework, slice(None)), expected)


def test_permuting_and_splitting_rows_changes_no_row(row_case: Any, harness: Any) -> None:
    values = values_of(row_case)
    batched = choices(row_case)[:1]
    for choice in batched:
        program = row_program(row_case, choice)
        whole = at_once(harness, program, choice, values, "numpy", slice(None))
        for order in ([3, 0, 2, 1], [1], [0, 3]):
            assert_rows(
                row_case, at_once(harness, program, choice, values, "numpy", order), [part[order] for part in whole]
            )


def test_a_row_that_is_one_number_is_reduced_to_itself() -> None:
    import torch

    from etude.backends.emission.spelled import spelled
    from etude.backends.program.builder import Builder
    from etude.backends.program.rows import vectorize
    from etude.backends.program.types import TensorType

    for name, attributes in (("mean", {"axis": None, "keep": False}), ("sum", {"axis": (), "keep": False})):
        build = Builder("row")
        x = build.input("x", TensorType("float32"))
        program = vectorize(build.build([("", build.apply(name, [x], attributes)[0])]))
        value = torch.tensor([1.0, 5.0])
        found = {program.inputs[0][1].id: value}
        for op in program.ops:
            text = spelled(op, "torch", ["given"])
            found[op.results[0].id] = eval(text, {"torch": torch, "given": found[op.operands[0].id], "b": 2})
        assert found[program.outputs[0][1].id].tolist() == [1.0, 5.0]
