"""Functions of scripts: what all calls agree on is no argument, and what is never reached is gone."""

from __future__ import annotations

from typing import Any

import pytest

from etude.backends.eject.specializing import specialized

BLOCKS = [
    "LOWEST = -1e30",
    """def _reduced(losses: list[float], where: list[bool] | None, reduce: str) -> Any:
    # what is masked counts as nothing
    if where is not None:
        losses = [x * m for x, m in zip(losses, where)]
    if reduce == "none" or not losses:
        return losses
    if where is None:
        return sum(losses) / len(losses)
    return sum(losses) / max(LOWEST, sum(where))""",
    '''def loss(x: list, where: list[bool] | None = None, reduce: str = "mean", scale: float | None = None) -> Any:
    """The é is two bytes before scale."""
    scale = 2.0 if scale is None else scale
    return _reduced([scale * v for v in x], where, reduce)''',
]


def run(blocks: list[str], rest: str) -> Any:
    names: dict[str, Any] = {"Any": Any}
    exec("\n".join(["from __future__ import annotations", *blocks, rest]), names)
    return names["found"]


@pytest.mark.parametrize(
    "call",
    [
        "loss([1.0, 3.0])",
        "loss([1.0, 3.0], where=[True, False])",
        "loss([1.0, 3.0], reduce='none')",
        "[loss([1.0]), loss([1.0], [True], scale=3.0)]",
        "list(map(loss, [[1.0], [2.0]]))",
    ],
)
def test_what_is_left_gives_the_same(call: str) -> None:
    rest = f"found = {call}"
    assert run(specialized(BLOCKS, rest), rest) == run(BLOCKS, rest)


def test_arguments_that_nobody_gives_are_gone_with_the_code_for_them() -> None:
    mean, function = specialized(BLOCKS, "found = loss([1.0, 3.0])")
    assert mean == (
        "def _reduced(losses: list[float]) -> Any:\n"
        "    if not losses:\n"
        "        return losses\n"
        "    return sum(losses) / len(losses)"
    )
    assert "def loss(x: list) -> Any:" in function
    assert "    scale = 2.0\n    return _reduced([scale * v for v in x])" in function


def test_a_function_that_is_handed_on_and_an_argument_that_the_step_gives_stay() -> None:
    rest = "found = [f([1.0]) for f in (loss,)]"
    assert specialized(BLOCKS, rest) == BLOCKS
    kept = specialized(BLOCKS, 'found = loss([1.0], reduce="mean")')
    assert 'reduce: str = "mean"' in kept[-1] and "where" not in kept[-1]


def test_what_means_something_else_within_is_left_alone() -> None:
    block = "def f(x: int, i: int = 0) -> int:\n    return sum(i for i in range(x)) + (lambda i: i)(2)"
    rest = "found = f(3)"
    assert specialized([block], rest) == [block]
