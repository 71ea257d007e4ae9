"""Every kind of leak, put into recipes that have none: all must be refused, and the recipes themselves not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from etude.compiler.pipeline import Compilation
from etude.runtime.compiling import compile_text

HEAD = """use std.vision
use std.ssl
digits = load("sklearn:digits") |> split(train = 60%, valid = 20%, test = 20%, stratify = "label")
net    = flatten >> linear(10)
fn score(m) = accuracy(m, on = digits.test)
"""
# what each recipe trains on is called `fuel`, what it chooses by `judge`; a leak is another meaning of these
CLEAN = {
    "finetune": "m = finetune(net, on = fuel, valid = judge)\nexpect score(m) > 0.5",
    "convnet": (
        "m = finetune(convnet(widths = [8], out = 8) >> linear(10), on = fuel, valid = judge)\nexpect score(m) > 0.5"
    ),
    "seeds": "ms = runs(1..3, s => score(finetune(net, on = fuel, valid = judge)))\nexpect mean(ms) > 0.5",
    "sweep": (
        "ms = [score(finetune(net, on = fuel, valid = judge, budget = n * 1epochs)) for n in [1, 2]]\n"
        "expect max(ms) > 0.5"
    ),
    "distil": (
        "t = finetune(flatten >> mlp([32, 10]), on = fuel, valid = judge)\n"
        "m = distill(t, into = net, on = fuel)\nexpect score(m) > 0.5"
    ),
    "probe": (
        "trunk = convnet(widths = [8], out = 8)\n"
        "t = finetune(trunk >> linear(10), on = fuel, valid = judge)\n"
        "expect score(t) > 0.5"
    ),
    "loss": (
        "t = train(on = fuel, update = net, valid = judge, keep = best) {\n"
        "  loss = ({image, label}) => cross_entropy(net(image), label)\n}\nexpect score(t.net) > 0.5"
    ),
    "two streams": (
        "t = train(on = {a: fuel, b: sample(fuel, 50%)}, update = net) {\n"
        "  loss = ({a, b}) => cross_entropy(net(a.image), a.label) + cross_entropy(net(b.image), b.label)\n}\n"
        "u = finetune(net, on = digits.train, valid = judge)\n"
        "expect score(t.net) > 0.5"
    ),
    "ema": (
        "t = train(on = fuel, update = net, valid = judge, keep = best) {\n"
        "  ema = {calm: slow(net, 0.9)}\n"
        "  loss = ({image, label}, {net, calm}) => cross_entropy(net(image), label) + mean(square(calm(image)))\n}\n"
        "expect score(t.calm) > 0.5"
    ),
    "patience": "m = finetune(net, on = fuel, valid = judge, patience = 3, keep = last)\nexpect score(m) > 0.5",
    "pseudo labels": (
        "t = finetune(net, on = fuel, valid = judge)\n"
        'bare = drop(digits.train, "label")\n'
        "more = map(bare, ({image}) => {image, label: as_label(argmax(t(image)), classes = 10)})\n"
        "m = finetune(flatten >> mlp([16, 10]), on = fuel + more, valid = judge)\nexpect score(m) > 0.5"
    ),
    "hard rows": (
        "p = finetune(net, on = fuel, budget = 2epochs)\n"
        "hard = top(fuel, 50%, by = ({image, label}) => cross_entropy(p(image), label))\n"
        "m = finetune(net, on = hard, valid = judge)\nexpect score(m) > 0.5"
    ),
}
FUEL, JUDGE = "fuel = digits.train\n", "judge = digits.valid\n"
BY_TEST = "spy = finetune(net, on = digits.train, valid = digits.valid)\n"
LEAKS = {
    "the test data itself": ("fuel = digits.test\n" + JUDGE, "E501"),
    "test data added": ("fuel = digits.train + digits.test\n" + JUDGE, "E501"),
    "a sample of test data": ("fuel = digits.train + sample(digits.test, 10%)\n" + JUDGE, "E501"),
    "a part of test data": (
        "halves = split(digits.test, train = 50%, rest = 50%)\nfuel = halves.train\n" + JUDGE,
        "E501",
    ),
    "test data mapped": (
        "fuel = map(digits.test, ({image, label}) => {image: image * 2.0, label})\n" + JUDGE,
        "E501",
    ),
    "relabelled test data": (
        "fuel = map(digits.test, ({image, label}) => {image, label: as_label(9 - label, classes = 10)})\n" + JUDGE,
        "E501",
    ),
    "rows filtered by test labels": ("fuel = filter(digits.test, ({label}) => label > 2)\n" + JUDGE, "E501"),
    "rows ranked by test labels": ("fuel = top(digits.test, 50%, by = ({label}) => label)\n" + JUDGE, "E501"),
    "labels by a model of test data": (
        "spy = finetune(flatten >> mlp([8, 10]), on = digits.test)\n"
        "fuel = map(digits.train, ({image, label}) => {image, label: as_label(argmax(spy(image)), classes = 10)})\n"
        + JUDGE,
        "E501",
    ),
    "rows chosen by a model of test data": (
        "spy = finetune(flatten >> mlp([8, 10]), on = digits.test)\n"
        "fuel = top(digits.train, 50%, by = ({image, label}) => cross_entropy(spy(image), label))\n" + JUDGE,
        "E501",
    ),
    "test data but for a few rows": ("fuel = digits.test - sample(digits.test, 5%)\n" + JUDGE, "E501"),
    "validation on test data": (FUEL + "judge = digits.test\n", "E502"),
    "validation on a part of test data": (FUEL + "judge = digits.valid + sample(digits.test, 50%)\n", "E502"),
    "a loop until the test score is good": (
        "steps = loop (m = finetune(net, on = digits.train), i in 1..2, while score(m) < 99%) {\n"
        "  return finetune(m, on = digits.train, seed = i)\n}\n" + FUEL + JUDGE,
        "E502",
    ),
    "the best by the test score": (
        "tried = [finetune(net, on = digits.train, seed = s) for s in 1..2]\n"
        "kept  = best(tried, by = m => score(m))\n" + FUEL + JUDGE,
        "E502",
    ),
    "another split of the same data": (
        'other = load("sklearn:digits") |> split(train = 50%, rest = 50%, seed = 9)\nfuel = other.train\n' + JUDGE,
        "E503",
    ),
    "all of the data": ('fuel = load("sklearn:digits")\n' + JUDGE, "E503"),
}


def compiled(text: str) -> Compilation:
    return compile_text(HEAD + text, "leak.etude", Path())


def errors(text: str) -> list[str]:
    return [each.code for each in compiled(text).diagnostics if each.severity == "error"]


@pytest.mark.parametrize("recipe", CLEAN)
def test_a_recipe_without_a_leak_is_not_refused(recipe: str) -> None:
    assert errors(FUEL + JUDGE + CLEAN[recipe]) == []


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("recipe", CLEAN)
def test_every_leak_is_refused_with_its_path(recipe: str, leak: str) -> None:
    text, code = LEAKS[leak]
    found = [each for each in compiled(text + CLEAN[recipe]).diagnostics if each.code.startswith("E")]
    assert code in {each.code for each in found}
    assert {each.code for each in found} <= {"E501", "E502", "E503"}
    for each in found:
        assert each.code == "E503" or "digits.test -> " in each.message


def test_looking_at_test_data_without_choosing_by_it_is_allowed() -> None:
    assert errors("m = finetune(net, on = digits.train, valid = digits.test, keep = last)") == []


def test_the_rest_of_a_sample_is_new_to_what_was_trained_on_the_sample() -> None:
    text = """all = load("sklearn:digits")
held = sample(all, 20%) |> split(test = 100%)
m = finetune(net, on = all - held.test)
expect accuracy(m, on = held.test) > 0.5"""
    assert errors(text) == []


def test_what_the_recipe_assumes_to_be_disjoint_is_not_refused() -> None:
    text = """other = load("sklearn:digits") |> split(train = 50%, rest = 50%, seed = 9)
m = finetune(net, on = other.train)
expect score(m) > 0.5
"""
    assert errors(text) == ["E503"]
    assert errors(text + 'assume disjoint(other.train, digits.test) because "seed 9 was chosen so"') == []


def test_test_data_from_elsewhere_is_compared_when_the_recipe_runs() -> None:
    text = """trained = load("synthetic:moons", n = 40, seed = 1)
tested  = load("synthetic:moons", n = 20, seed = 2, role = "test")
m = finetune(mlp([4, 2]), on = trained)
expect accuracy(m, on = tested) > 0.5
"""
    found = compiled(text)
    assert found.workflow is not None
    (stage,) = [each for each in found.workflow.stages.values() if each.kind == "overlap"]
    assert stage.spec["names"] == ["tested", "trained"]
    assumed = compiled(text + 'assume disjoint(tested, trained) because "other seeds"').workflow
    assert assumed is not None
    assert all(each.kind != "overlap" for each in assumed.stages.values())


def test_test_data_from_elsewhere_is_compared_also_where_its_columns_have_other_names(tmp_path: Path) -> None:
    for name, column in (("here", "scan"), ("there", "picture")):
        np.savez(tmp_path / f"{name}.npz", **{column: np.zeros((4, 64), "float32"), "label": np.arange(4)})
    text = """trained = load("here.npz", classes = 10)
other   = load("there.npz", classes = 10, role = "test")
tested  = other |> map(({picture, label}) => {scan: picture, label})
m       = finetune(linear(10), on = trained)
expect accuracy(m, on = tested) > 0.5
"""
    found = compile_text(HEAD + text, "leak.etude", tmp_path)
    assert found.workflow is not None, found.diagnostics
    overlaps = [stage.spec for stage in found.workflow.stages.values() if stage.kind == "overlap"]
    assert [(spec["columns"], spec["others"]) for spec in overlaps] == [(["picture"], ["scan"])]
