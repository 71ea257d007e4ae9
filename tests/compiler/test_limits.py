"""Whatever a recipe expands to, checking it ends with a diagnostic: steps are counted, sizes are bounded beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.compiler import limits
from etude.compiler.diagnostics import MOST
from etude.compiler.pipeline import Compilation
from etude.compiler.render.text import summarize
from etude.runtime.compiling import compile_text

DIGITS = 'd = load("sklearn:digits")\n'


def chain(first: str, step: str, count: int) -> str:
    """Definitions that each use the one before: `{i}` is the number of one, `{j}` that of the one before."""
    return first + "".join(step.format(i=i, j=i - 1) for i in range(1, count + 1))


FUNCTIONS = chain("fn f0(x) = x + 1\n", "fn f{i}(x) = f{j}(f{j}(x))\n", 40)
MODELS = chain("model m0()(x) { return linear(64)(x) }\n", "model m{i}()(x) {{ return m{j}()(m{j}()(x)) }}\n", 40)
BOMBS = {
    "functions that double": (FUNCTIONS + "a = f40(1)\n", "E403"),
    "functions of tensors that double": (FUNCTIONS + DIGITS + "m = map(d, row => {x: f40(row.image)})\n", "E403"),
    "models that double": (MODELS + DIGITS + "m = finetune(flatten >> m40(), on = d)\n", "E403"),
    "lists that double": (chain("a0 = [1]\n", "a{i} = a{j} + a{j}\n", 60), "E314"),
    "texts that double": (chain('a0 = "x"\n', "a{i} = a{j} + a{j}\n", 60), "E314"),
    "numbers that square": (chain("a0 = 10\n", "a{i} = a{j} * a{j}\n", 60), "E314"),
    "measured values that double": (
        DIGITS + chain("a0 = measure(d, row => 1.0)\n", "a{i} = a{j} + a{j}\n", 60) + "expect a60 > 1\n",
        "E314",
    ),
    "a list that doubles in a loop": ("a = loop (s = [1], i in 1..100) { return s + s }\n", "E314"),
    "a tower of powers": ("a = 10 ** 10 ** 10\n", "E314"),
    "a billion stages": (
        DIGITS + "a = [sample(d, 10%, seed = x) for x in 1..1000 for y in 1..1000 for z in 1..1000 if y + z > 0]\n",
        "E403",
    ),
    "comprehensions inside each other": (
        "a = [[[x + y + z for x in 1..1000] for y in 1..1000] for z in 1..1000]\n",
        "E403",
    ),
    "a range without an end": ("a = [x for x in 1..10**12]\n", "E403"),
    "loops inside each other": (
        "a = loop (s = 0, i in 1..9999) { t = loop (u = s, j in 1..9999) { return u + j } return t }\n",
        "E403",
    ),
    "a shape that no machine holds": (DIGITS + "m = map(d, row => {x: zeros([1000000, 1000000, 1000000])})\n", "E314"),
    "numbers of a billion digits as a shape": (DIGITS + "m = map(d, row => {x: zeros([10**30])})\n", "E314"),
    "a lambda that calls itself": ("f = x => f(x)\na = f(1)\n", "E314"),
    "a function given to itself": ("y = (x => x(x))(x => x(x))\n", "E314"),
    "a model inside itself": (
        "model m()(x) { return m()(x) }\n" + DIGITS + "s = map(d, r => {x: m()(r.image)})\n",
        "E314",
    ),
    "calls too deep": (chain("fn f0(x) = x\n", "fn f{i}(x) = f{j}(x)\n", 400) + "a = f400(1)\n", "E314"),
    "brackets too deep": ("a = " + "(" * 10_000 + "1" + ")" * 10_000 + "\n", "E110"),
    "signs too deep": ("a = " + "-" * 10_000 + "1\n", "E110"),
    "a sum too long": ("a = " + " + ".join(["1"] * 10_000) + "\n", "E110"),
    "runs of runs": ("a = runs(1..10000, s => runs(1..10000, t => t))\n", "E403"),
}


def compiled(text: str) -> Compilation:
    return compile_text(text, "bomb.etude", Path())


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_in_a_diagnostic(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STEPS", 20_000)  # fewer than a user has: a test need not take them all
    text, code = BOMBS[name]
    found = compiled(text)
    codes = {each.code for each in found.diagnostics}
    assert codes & {code, "E403"}  # what is large may take too many of the few steps before it is too large
    assert len(found.diagnostics) < 10  # one mistake, no cascade


def test_a_chain_of_bindings_in_reverse_order_is_no_bomb() -> None:
    text = "".join(f"a{i} = a{i + 1} + 1\n" for i in range(1_500)) + "a1500 = 1\n"
    found = compiled(text)
    assert found.diagnostics == []
    assert found.recipe is not None and found.recipe.values["a0"] == 1_501


def test_stages_allow_more_steps() -> None:
    work = limits.Work(spent=limits.STEPS + 1)
    work.refill(1, None)  # type: ignore[arg-type]  # nothing is reported
    assert work.allowed == limits.STEPS + limits.STEPS_PER_STAGE


def test_an_ordinary_sweep_is_expanded() -> None:
    found = compiled(DIGITS + "a = [sample(d, 50%, seed = 1000 * x + y) for x in 1..30 for y in 1..30]\n")
    assert found.diagnostics == [] and found.workflow is not None
    assert len(found.workflow.stages) == 901


def test_values_that_hold_others_twice_are_refused_before_anything_goes_through_them() -> None:
    for form in ("{{l: a{j}, r: a{j}}}", "[a{j}, a{j}]", "[[a{j}, i] for i in 1..2]"):
        found = compiled(chain("a0 = {x: 1}\n", "a{i} = " + form + "\n", 40) + "b = a40 == a40\n")
        assert [each.code for each in found.diagnostics] == ["E314"]


def test_of_very_many_faults_the_first_are_told() -> None:
    for line in ("a{i} = b{i}\n", "a = 1\n", "a{i} = [1] - 1\n"):
        found = compiled("".join(line.format(i=i) for i in range(150)))
        assert len(found.diagnostics) == MOST
    assert summarize(found.diagnostics) == f"{MOST} errors; there may be more"
