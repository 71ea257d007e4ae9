"""What is known before the run: lists and records are compared, numbers and lists computed with, texts made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etude.compiler.values import Deferred, Measured
from etude.runtime.compiling import compile_text


def value_of(expression: str, before: str = "") -> Any:
    """What an expression of the top level is."""
    result = compile_text(f"{before}\nfound = {expression}", "test.etude", Path())
    assert not result.has_errors, [d.message for d in result.diagnostics]
    assert result.recipe is not None
    return result.recipe.values["found"]


@pytest.mark.parametrize(
    "claim",
    [
        "[1, 2] == [1, 2]",
        "[1, 2] != [1, 3]",
        "[1] != [1, 2]",
        "[] == []",
        "1..3 == [1, 2, 3]",
        '{a: 1, b: ["x"]} == {b: ["x"], a: 1}',
        "{a: 1} != {b: 1}",
        "{} == {}",
        "[none, 1] == [none, 1]",
        "[3epochs] == [3epochs]",
        "not ([1, 2] == [2, 1])",
    ],
)
def test_structures_are_alike_where_their_parts_are(claim: str) -> None:
    assert value_of(claim) is True


def test_a_measured_element_makes_the_comparison_a_measured_one() -> None:
    before = 'digits = load("sklearn:digits")\na = measure(on = digits, ({image}) => mean(image))'
    for symbol in ("==", "!="):
        found = value_of(f"[a, 1, a] {symbol} [0.5, 1, a]", before)
        assert isinstance(found, Deferred) and found.kind == "bool"
    assert value_of("[a, 1] == [a, 2]", before) is False


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("sum(1..4)", 10),
        ("len(2..4)", 3),
        ('len("abc")', 3),
        ("len(flatten >> relu >> tanh)", 3),
        ("sort([3, 1, 2])", [1, 2, 3]),
        ("argsort([3, 1, 2])", [1, 2, 0]),
        ("cumsum([1, 2, 3])", [1, 3, 6]),
        ("flip([1, 2])", [2, 1]),
        ("prod([2, 3])", 6),
        ("argmax([1, 3, 3])", 1),
        ("argmin([1, 3, 1])", 0),
        ("var([1, 3])", 1.0),
        ("sign(-2)", -1),
        ("clip(5, 0, 3)", 3),
        ("where(1 < 2, 3, 4)", 3),
        ("relu(-1.5)", 0),
        ("sigmoid(0)", 0.5),
        ("sigmoid(-1000)", 0.0),
        ("softplus(1000)", 1000.0),
        ("max(3epochs, 5epochs) == 5epochs", True),
        ("min(90min, 1h) == 60min", True),
        ("10epochs // 3 == 3epochs", True),
        ('"lr " + string(1e-3)', "lr 0.001"),
        ("string(true)", "true"),
        ("string(64)", "64"),
        ("string(3epochs)", "3epochs"),
    ],
)
def test_plain_numbers_and_lists_are_computed_with_before_the_run(expression: str, expected: Any) -> None:
    assert value_of(expression) == expected


def test_a_tensor_of_plain_numbers_takes_arithmetic_outside_of_functions() -> None:
    before = "a = tensor([[1.0, 2.0], [3.0, 4.0]])"
    shapes = {"a + 1": (2, 2), "-a": (2, 2), "a @ a": (2, 2), "a[0]": (2,), "a[:, 1] * 2": (2,), "softmax(a)": (2, 2)}
    for expression, shape in shapes.items():
        found = value_of(expression, before)
        assert isinstance(found, Measured) and found.type.shape == shape, expression
    assert isinstance(value_of("a[0, 1] + sum(a)", before), Deferred)
    found = value_of("softmax([1.0, 2.0])")  # lists of numbers are stacked
    assert isinstance(found, Measured) and found.type.shape == (2,)
    assert isinstance(value_of("norm([3.0, 4.0])"), Deferred)
    assert value_of("a.shape", before) == [2, 2]
