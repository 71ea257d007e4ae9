"""Recipes of far too many stages are refused at a few of them, and uneven sweeps that end below the limit never are."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.compiler import extent
from etude.compiler.extent import Extent
from etude.compiler.pipeline import Compilation
from etude.runtime.compiling import compile_text

LIMIT = 1_000
FIRST = 40
HEAD = 'd = load("sklearn:digits")\nfn one(s) = sample(d, 10%, seed = s)\n'


def chain(first: str, step: str, count: int) -> str:
    return first + "".join(step.format(i=i, j=i - 1) for i in range(1, count + 1))


BOMBS = {
    "functions of comprehensions": (
        "fn f(s) = [one(100 * s + i) for i in 1..100]\nfn g(s) = [f(100 * s + i) for i in 1..100]\n"
        "h = [g(s) for s in 1..1000]\n"
    ),
    "ranges that are bound": "r = 1..1000\nh = [one(i + 1000 * j + 1000000 * k) for i in r for j in r for k in r]\n",
    "loops": "fn f(s) = loop (x = d, i in 1..1000) { return sample(x, 99%, seed = s * 1000 + i) }\n"
    "h = [[f(s + t) for s in 1..1000] for t in 1..1000]\n",
    "loops in loops": (
        "h = loop (x = d, i in 1..1000) {\n"
        "  return loop (y = x, j in 1..1000) { return sample(y, 99%, seed = i * 1000 + j) }\n}\n"
    ),
    "a tree of calls": chain("fn f0(s) = one(s)\n", "fn f{i}(s) = [f{j}(2 * s), f{j}(2 * s + 1)]\n", 30)
    + "h = f30(1)\n",
    "a tree of records": (
        chain("fn f0(s) = one(s)\n", "fn f{i}(s) = {{a: f{j}(3 * s), b: f{j}(3 * s + 1), c: f{j}(3 * s + 2)}}\n", 20)
        + "h = f20(1)\n"
    ),
    "a tree of sums": chain("fn f0(s) = one(s)\n", "fn f{i}(s) = f{j}(2 * s) + f{j}(2 * s + 1)\n", 40) + "h = f40(1)\n",
    "a tree of bodies": (
        chain(
            "fn f0(s) = one(s)\n", "fn f{i}(s) {{\n  a = f{j}(2 * s)\n  b = f{j}(2 * s + 1)\n  return a + b\n}}\n", 40
        )
        + "h = f40(1)\n"
    ),
    "runs of runs": "h = runs(1..1000, s => runs(1..1000, t => runs(1..1000, u => one(s + 1000 * t + 1000000 * u))))\n",
    "functions that are handed on": (
        chain("", "fn ten{i}(f, s) = [f(10 * s + k) for k in 0..9]\n", 10)
        + "fn f0(s) = one(s)\n"
        + chain("", "fn f{i}(s) = ten{i}(f{j}, s)\n", 10)
        + "h = f10(1)\n"
    ),
    "fields of records": (
        "all = [{a: i, b: i} for i in 1..1000]\n"
        "h = [[[one(p.a + q.b * 1000 + r.a * 1000000) for p in all] for q in all] for r in all]\n"
    ),
    "even rounds, not so many": "h = [[one(1000 * i + j) for i in 1..100] for j in 1..100]\n",
    "models": "fn f(s) = [finetune(flatten >> linear(10), on = one(1), seed = 100 * s + i) for i in 1..100]\n"
    "h = [[f(100 * t + s) for s in 1..100] for t in 1..1000]\n",
}
LARGE_FIRST = "[700" + ", 1" * 99 + "]"
SWEEPS = {
    "the first is large": f"h = [[one(n * 1000 + i) for i in 1..n] for n in {LARGE_FIRST}]\n",
    "the first four are large": (
        "sizes = [150, 150, 150, 150] + [i for i in 1..20]\nh = [[one(n * 1000 + i) for i in 1..n] for n in sizes]\n"
    ),
    "fewer each time": "h = [[one(1000 * n + i) for i in 1..(40 - n)] for n in 1..39]\n",
    "half each time": "h = [[one(1000 * n + i) for i in 1..n] for n in [480, 240, 120, 60, 30, 15, 8, 4, 2, 1]]\n",
    "a share of the first": "h = [[one(1000 * n + i) for i in 1..floor(120 / n)] for n in 1..120]\n",
    "what all share stands in the first": (
        "fn shared() = [one(i) for i in 1..400]\nfn member(s) { all = shared() return sample(all[0], 20%, seed = s) }\n"
        "h = [member(s) for s in 1..20]\n"
    ),
    "a condition that few pass": "h = [one(1000 * i + j) for i in 1..120 for j in 1..120 if i * j < 120]\n",
    "a binding that is needed within": (
        "big = [one(i) for i in 1..900]\nh = [sample(big[0], 20%, seed = i) for i in 1..90]\n"
    ),
    "needed before it is bound": "h = [sample(big[0], 20%, seed = i) for i in 1..90]\nbig = [one(i) for i in 1..900]\n",
    "records and bodies around": (
        "fn study(s) {\n  a = {x: [[one(s * 1000 + i) for i in 1..900], 1, 2], y: 1, z: 2}\n"
        "  b = 2\n  c = 3\n  return [a, b, c, 4, 5]\n}\nh = {first: [study(1), 1], second: 2, third: 3}\n"
    ),
    "loops that get shorter": (
        "fn rounds(n) = loop (x = d, i in 1..n) { return sample(x, 99%, seed = n * 1000 + i) }\n"
        "h = [rounds(n) for n in [400, 200, 100, 50, 25, 12, 6, 3, 2, 1]]\n"
    ),
    "just the limit": "h = [[one(100 * i + j) for i in 1..33] for j in 1..30]\n",
}


def compiled(text: str, monkeypatch: pytest.MonkeyPatch) -> Compilation:
    monkeypatch.setattr(extent, "FIRST", FIRST)  # a test need not make thousands of stages
    return compile_text(HEAD + text, "recipe.etude", Path(), max_stages=LIMIT)


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_never_end_is_refused_at_a_few_stages(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compiled(BOMBS[name], monkeypatch)
    (only,) = found.diagnostics
    assert only.code == "E403" and "would have more than" in only.message
    assert found.recipe is not None
    assert len(found.recipe.session.stages.stages) <= LIMIT / 2


@pytest.mark.parametrize("name", SWEEPS)
def test_uneven_sweeps_below_the_limit_are_expanded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compiled(SWEEPS[name], monkeypatch)
    assert [each for each in found.diagnostics if each.severity == "error"] == []
    assert found.recipe is not None
    assert len(found.recipe.session.stages.stages) > LIMIT / 4


def test_the_limit_itself_ends_everything_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = chain("fn f0(s) = one(s)\n", "fn f{i}(s) = [f{j}(2 * s), f{j}(2 * s + 1)]\n", 18)
    (only,) = compiled(tree + "h = f18(1)\nk = f18(2)\n", monkeypatch).diagnostics
    assert only.code == "E403"


def test_an_estimate_is_the_whole_where_all_is_alike() -> None:
    found = Extent()
    outer = found.enter(1_000, 0, are_alike=True)
    inner = found.enter(1_000, 0, are_alike=True)
    for count in range(1, 1_000):
        found.done(inner, count * 10)
    found.leave()
    found.done(outer, 10_000)
    assert found.too_many(10_000, 1) == 10_000_000 // 2  # the second element may be done, for all that is known
    assert found.too_many(10_000, 1) is None  # asked again too early


def test_levels_whose_elements_differ_have_a_factor_of_ten_for_nothing() -> None:
    for total, refused in ((10, False), (100, True)):
        found = Extent()
        found.enter(total, 0)
        found.enter(200, 0, are_alike=True)
        assert (found.too_many(2_000, 1_000) is not None) is refused
