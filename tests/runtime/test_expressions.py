from __future__ import annotations

from typing import Any

import pytest

from etude.runtime.claims import judge, named
from etude.runtime.expressions import Evaluation, ExpressionError

Json = Any


def number(value: float) -> Json:
    return ["number", value]


def value(expression: Json, *inputs: Json) -> Json:
    return Evaluation(inputs).value(expression)


@pytest.mark.parametrize(
    ("operation", "operands", "expected"),
    [
        ("add", (2, 3), 5),
        ("sub", (2, 3), -1),
        ("mul", (2, 3), 6),
        ("div", (3, 2), 1.5),
        ("floordiv", (7, 2), 3),
        ("mod", (7, 4), 3),
        ("pow", (2, 10), 1024),
        ("neg", (2,), -2),
        ("lt", (1, 2), True),
        ("le", (2, 2), True),
        ("gt", (1, 2), False),
        ("ge", (1, 2), False),
        ("eq", (2, 2.0), True),
        ("ne", (2, 2), False),
        ("min", (3, 1, 2), 1),
        ("max", (3, 1, 2), 3),
    ],
)
def test_operations_on_numbers_mean_what_they_mean_in_python(operation: str, operands: Any, expected: Json) -> None:
    assert value([operation, *map(number, operands)]) == expected
    if len(operands) == 2:
        assert value([operation, ["input", 0], ["input", 1]], *operands) == expected


@pytest.mark.parametrize(
    ("operation", "items", "expected"),
    [
        ("mean", [1, 2, 6], 3),
        ("deviation", [2, 4, 4, 4, 5, 5, 7, 9], 2.0),
        ("sum", [1, 2, 3], 6),
        ("min", [3, 1], 1),
        ("max", [3, 1], 3),
        ("rank", [10, 30, 20, 20], [1, 4, 2.5, 2.5]),
        ("mean", [], None),
        ("deviation", [1.0], 0.0),
        ("deviation", [], None),
        ("mean", [1, None], None),
        ("all", [True, True], True),
        ("any", [False, False], False),
    ],
)
def test_functions_of_a_list(operation: str, items: list[Json], expected: Json) -> None:
    found = value([operation, ["input", 0]], items)
    assert found == (expected if expected is None or isinstance(expected, list) else pytest.approx(expected))


def test_correlation_is_pearsons_and_missing_where_a_side_is_constant() -> None:
    pair = ["correlation", ["input", 0], ["input", 1]]
    assert value(pair, [1, 2, 3], [2, 4, 6.5]) == pytest.approx(0.9979, abs=1e-4)
    assert value(pair, [1, 2], [3, 3]) is None
    assert value(["correlation", ["rank", ["input", 0]], ["rank", ["input", 1]]], [1, 2, 30], [1, 4, 9]) == 1.0


def test_arithmetic_on_lists_is_element_by_element() -> None:
    assert value(["sub", ["input", 0], ["input", 1]], [3, 2], [1, 1]) == [2, 1]
    assert value(["mul", ["input", 0], number(2)], [3, 2]) == [6, 4]
    with pytest.raises(ExpressionError, match="different lengths"):
        value(["sub", ["input", 0], ["input", 1]], [3, 2], [1])


def test_records_and_lists_are_built_and_taken_apart() -> None:
    record = ["record", {"a": ["input", 0], "b": ["list", [number(1), ["text", "x"]]]}]
    assert value(record, 5) == {"a": 5, "b": [1, "x"]}
    assert value(["field", ["input", 0], "a"], {"a": 5}) == 5
    assert value(["field", ["input", 0], "a"], [{"a": 5}, {"a": 6}]) == [5, 6]
    assert value(["at", ["input", 0], -1], [1, 2]) == 2


def test_a_choice_evaluates_the_side_that_its_condition_says_and_no_value_is_no() -> None:
    choice = ["if", ["input", 0], ["add", ["input", 1], number(1)], ["input", 2]]
    assert value(choice, True, 2, None) == 3
    assert value(choice, False, "what cannot be added", 5) == 5
    assert value(choice, None, None, 5) == 5


@pytest.mark.parametrize(
    "expression",
    [
        ["add", ["input", 0], number(1)],
        ["gt", ["input", 0], number(1)],
        ["eq", ["input", 0], number(1)],
        ["neg", ["input", 0]],
        ["field", ["input", 0], "a"],
        ["mean", ["list", [["input", 0], number(1)]]],
        ["div", number(1), number(0)],
        ["pow", number(-8), number(0.5)],
    ],
)
def test_a_missing_value_makes_what_is_computed_from_it_missing(expression: Json) -> None:
    assert value(expression, None) is None


@pytest.mark.parametrize(
    ("operation", "sides", "expected"),
    [
        ("and", (True, None), None),
        ("and", (False, None), False),
        ("and", (None, False), False),
        ("or", (True, None), True),
        ("or", (False, None), None),
        ("not", (None,), None),
        ("not", (False,), True),
        ("and", (True, True), True),
    ],
)
def test_logic_has_three_values(operation: str, sides: tuple[Json, ...], expected: Json) -> None:
    assert value([operation, *(["input", i] for i in range(len(sides)))], *sides) is expected


@pytest.mark.parametrize(
    ("expression", "inputs", "message"),
    [
        (["add", ["input", 0], number(1)], ["x"], "expected numbers, got a text and a number"),
        (["mean", ["input", 0]], [["x"]], "expected a list of numbers"),
        (["field", ["input", 0], "b"], [{"a": 1}], 'field "b": not in a record of a'),
        (["frobnicate", number(1)], [], "no such operation"),
        (["better", ["input", 0], number(1), {}], [[1]], "expected two lists of runs, got a number"),
        ({"add": [1, 2]}, [], "not understood"),
        (["at", ["input", 0], 3], [[1]], "no element 3 in a list of 1"),
        (["pow", number(10.0), number(1000)], [], "too large"),
    ],
)
def test_what_has_no_meaning_is_an_error_that_says_so(expression: Json, inputs: list[Json], message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        value(expression, *inputs)


BETTER = ["better", ["input", 0], ["input", 1], {"confidence": 0.95, "lower": False}]
HIGH, LOW = [0.9, 0.91, 0.92, 0.9, 0.93], [0.8, 0.8, 0.81, 0.8, 0.82]


def test_a_claim_holds_fails_or_cannot_tell() -> None:
    assert judge(BETTER, [], [HIGH, LOW])["verdict"] == "holds"
    assert judge(BETTER, [], [LOW, HIGH])["verdict"] == "fails"
    assert judge(BETTER, [], [HIGH[:2], LOW[:2]])["verdict"] == "cannot tell"
    assert judge(["gt", ["input", 0], number(1)], [], [None])["verdict"] == "cannot tell"


def test_a_comparison_that_cannot_tell_is_decided_by_the_rest_where_that_is_enough() -> None:
    undecided = [HIGH[:2], LOW[:2]]
    assert judge(["and", BETTER, ["gt", number(0), number(1)]], [], undecided)["verdict"] == "fails"
    assert judge(["or", BETTER, ["gt", number(1), number(0)]], [], undecided)["verdict"] == "holds"
    assert judge(["not", BETTER], [], undecided)["verdict"] == "cannot tell"


def test_a_verdict_keeps_the_values_by_position_and_gets_its_texts_when_it_is_shown() -> None:
    shown = [["acc(a)", ["input", 0]], ["acc(b) + 1%", ["add", ["input", 1], number(0.01)]]]
    judgement = judge(["gt", ["input", 0], ["input", 1]], shown, [0.5, 0.25])
    assert judgement["values"] == [0.5, 0.26]
    assert named(judgement, shown)["values"] == {"acc(a)": 0.5, "acc(b) + 1%": 0.26}


def test_the_detail_of_a_verdict_tells_the_comparison() -> None:
    (comparison,) = judge(BETTER, [], [HIGH, LOW])["detail"]["better"]
    assert comparison["runs"] == 5 and comparison["wins"] == 5
    assert 0 < comparison["low"] < comparison["mean_difference"] < comparison["high"]


def test_a_claim_that_is_a_number_is_an_error() -> None:
    with pytest.raises(ExpressionError, match="true or false"):
        judge(["input", 0], [], [1])
