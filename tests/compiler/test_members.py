"""Members of a sweep that measure alike share what was traced, and have what each would have alone."""

from __future__ import annotations

from typing import Any

import pytest

from etude.compiler import members
from etude.compiler.pipeline import compile_recipe
from etude.compiler.schema import ColumnSchema, SourceSchema
from etude.compiler.workflow import Stage
from tests.compiler.test_captures import DIGITS

TEXT = SourceSchema(columns=(ColumnSchema("text", "text", "text"),), rows=100)
HEAD = """
d = load("digits")
parts = split(d, train = 80%, test = 20%)
net = flatten >> mlp([4, 10])
other = flatten >> mlp([4, 10])
fn trained(m, s) = finetune(m, on = parts.train, budget = 1epochs, seed = s)
runs = [trained(net, s) for s in 1..5]
"""
SWEEPS = {
    "elements of a list": "accs = [accuracy(m, on = parts.test) for m in runs]",
    "made on the spot": "accs = [accuracy(trained(net, s), on = parts.test) for s in 1..5]",
    "trained twice": "twice = [trained(m, 7) for m in runs]\naccs = [accuracy(m, on = parts.test) for m in twice]",
    "two models in one function": (
        "others = [trained(other, s) for s in 1..5]\n"
        "fn apart(a, b) = measure(on = parts.test, row => mean(abs(predict(a, row) - predict(b, row))))\n"
        "accs = [apart(runs[i], others[i]) for i in 0..4]"
    ),
    "the same model twice, and others": (
        "fn apart(a, b) = measure(on = parts.test, row => mean(predict(a, row) - predict(b, row)))\n"
        "accs = [apart(runs[i], runs[[0, 1, 1, 4, 1][i]]) for i in 0..4]"
    ),
    "trained and fresh": (
        "accs = [measure(on = parts.test, row => mean(predict(a, row) - predict(net, row))) for a in runs]"
    ),
    "records of numbers": (
        "fn about(m, n) = measure(on = parts.test, row => {a: mean(predict(m, row)), n: n * mean(row.image)})\n"
        "accs = [about(runs[i], [1, 2, 2, 2, 3][i]) for i in 0..4]"
    ),
    "by class": 'accs = [measure(on = parts.test, row => agreement(m, row).accuracy, by = "label") for m in runs]',
    "chains of learned parts": (
        "a = flatten >> mlp([4, 8])\nb = linear(10)\n"
        "fn both(s) = train(on = parts.train, update = [a, b], budget = 1epochs, seed = s) "
        "{ loss = row => cross_entropy(b(a(row.image)), row.label) }\n"
        "ts = [both(s) for s in 1..5]\naccs = [accuracy(t.a >> t.b, on = parts.test) for t in ts]"
    ),
}


def stages(text: str) -> list[Stage]:
    """The stages of a recipe."""

    def nothing(path: str) -> str:
        raise FileNotFoundError(path)

    found = compile_recipe(text, describe_source=lambda uri, options: DIGITS, read_module=nothing)
    assert found.workflow is not None, found.diagnostics
    return list(found.workflow.stages.values())


@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=SWEEPS.keys())
def test_what_is_shared_is_what_each_would_have_alone(sweep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = stages(HEAD + sweep)

    def alone(site: Any, d: Any, function: Any, settings: Any, make: Any) -> Any:
        return make()

    monkeypatch.setattr("etude.compiler.builtins.measuring.shared", alone)
    assert shared == stages(HEAD + sweep)
    assert sum(stage.kind == "measure" for stage in shared) == 5


def count_traces(text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a recipe has functions of `measure` traced."""
    from etude.compiler.builtins import measuring

    traced: list[Any] = []
    trace = measuring.trace
    monkeypatch.setattr(measuring, "trace", lambda *given, **named: traced.append(0) or trace(*given, **named))
    stages(text)
    return len(traced)


@pytest.mark.parametrize("sweep", ["elements of a list", "made on the spot", "chains of learned parts"])
def test_a_function_is_traced_for_two_members(sweep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_traces(HEAD + SWEEPS[sweep], monkeypatch) == 2


def test_what_comes_out_otherwise_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(spec: Any, names: Any) -> Any:
        return {**spec, "seed": 5}

    monkeypatch.setattr(members, "_renamed", other)
    assert count_traces(HEAD + SWEEPS["elements of a list"], monkeypatch) == 5
