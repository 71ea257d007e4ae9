"""Lines that are too long, names, templates."""

from __future__ import annotations

import ast
import doctest
import importlib
import textwrap

import pytest

from etude.backends.emission.layout import WIDTH, fit

LONG = [
    "x = first(alpha, beta)" + " + second(gamma, delta)" * 6,
    f"def f({', '.join(f'argument_{i}: Tensor' for i in range(8))}) -> tuple[Tensor, Tensor]:",
    f"self.layers = nn.ModuleList([{', '.join(f'Linear({i}, {i})' for i in range(30))}])",
    f"{', '.join(f'slope_{i}' for i in range(20))} = grad(value, argnums=range(20))({', '.join('abcdefgh' * 5)})",
    f'return {{"text, with (brackets": [{", ".join(["1.0"] * 40)}]}}',
]


@pytest.mark.parametrize("line", LONG)
def test_a_line_that_is_too_long_is_taken_apart_at_its_brackets(line: str) -> None:
    lines = fit("    " + line)

    assert len(lines) > 1
    assert max(map(len, lines)) <= WIDTH
    body = "\n        pass" if line.startswith("def ") else ""
    assert _tree("\n".join(lines) + body) == _tree("    " + line + body)


def test_the_parameters_of_a_function_are_taken_apart_not_its_result() -> None:
    lines = fit(LONG[1])

    assert lines[0] == "def f("
    assert lines[-1] == ") -> tuple[Tensor, Tensor]:"


@pytest.mark.parametrize("name", ["devices", "layout", "naming", "templates", "optimizers"])
def test_the_examples_in_docstrings_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"etude.backends.emission.{name}"))

    assert result.attempted > 0
    assert result.failed == 0


def _tree(text: str) -> str:
    return ast.dump(ast.parse(textwrap.dedent(text)))
