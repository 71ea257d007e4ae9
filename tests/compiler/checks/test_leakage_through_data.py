"""Test data through mixtures, tasks, new labels, fits and foreign code: what is refused, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.runtime.compiling import compile_text

HEAD = """
all    = load("sklearn:digits")
digits = all |> split(train = 60%, valid = 20%, test = 20%, stratify = "label")
net    = flatten >> linear(10)
fn study(on, test) = accuracy(finetune(net, on = on), on = test)
"""
WRONG = {
    "a mixture with test rows": ("E501", "s = study(mix([digits.train, digits.test]), digits.valid)"),
    "a mixture that was trained on": ("E503", "s = study(mix([all, digits.train]), digits.test)"),
    "parts of a mixture with copies": (
        "E503",
        "p = mix([digits.train, digits.valid], size = 9000examples) |> split(a = 80%, test = 20%)\n"
        "s = study(p.a, p.test)",
    ),
    "parts of a dataset and some of its rows": (
        "E503",
        "p = (all + sample(all, 10%)) |> split(a = 80%, test = 20%)\ns = study(p.a, p.test)",
    ),
    "parts of tasks": (
        "E503",
        "p = episodes(all, ways = 2, shots = 1, queries = 1) |> split(a = 80%, test = 20%)\n"
        "m = train(on = p.a, update = net, budget = 3steps, loss = row => mean(net(row.support_image[:, 0])))\n"
        "s = measure(on = p.test, row => mean(m.net(row.query_image[0])))",
    ),
    "tasks of test rows": (
        "E501",
        "p = episodes(digits.test, ways = 2, shots = 1, queries = 1)\n"
        "m = train(on = p, update = net, budget = 3steps, loss = row => mean(net(row.support_image[:, 0])))",
    ),
    "rows by their test classes": (
        "E501",
        'p = split_classes(digits.test, [[0, 1], [2, 3]])[0] |> drop("label")\n'
        "m = train(on = p, update = net, budget = 3steps, loss = row => mean(net(row.image)))",
    ),
    "test labels under another name": (
        "E501",
        "p = digits.test |> map(row => {image: row.image, n: row.label + 0})\n"
        'q = p |> relabel("n", classes = [0, 1, 2, 3, 4])\n'
        "m = finetune(flatten >> linear(5), on = q)",
    ),
    "a probe of test labels": ("E501", "m = fit(ridge(), on = digits.test)"),
    "a teacher fitted to test labels": (
        "E501",
        "f = fit(lda(), on = digits.train + digits.test)\nm = distill(f, into = net, on = digits.train)",
    ),
    "features of a forest that saw the test rows": (
        "E503",
        "f = fit(random_forest(), on = all)\n"
        "d = digits |> map(row => {x: predict(f, row), label: row.label})\n"
        "s = accuracy(finetune(linear(10), on = d.train), on = d.test)",
    ),
    "a scaler that chose with test labels": (
        "E502",
        "ms = [finetune(net, on = digits.train, budget = n * 1epochs) for n in [1, 2]]\n"
        "m = best(ms, by = m => accuracy(m, on = mix([digits.test, digits.valid])))",
    ),
}
RIGHT = {
    "a mixture of what may be seen": "s = study(mix([digits.train, digits.valid], size = 900examples), digits.test)",
    "parts of a mixture without copies": (
        "p = mix([digits.train, digits.valid]) |> split(a = 80%, test = 20%)\ns = study(p.a, p.test)"
    ),
    "parts of a union of parts": (
        "p = (digits.train + digits.valid) |> split(a = 80%, test = 20%)\ns = study(p.a, p.test)"
    ),
    "tasks of parts": (
        "p = digits |> episodes(ways = 2, shots = 1, queries = 1)\n"
        "m = train(on = p.train, update = net, budget = 3steps, loss = row => mean(net(row.support_image[:, 0])))\n"
        "s = measure(on = p.test, row => mean(m.net(row.query_image[0])))"
    ),
    "fits to training rows": (
        "f = fit(standard_scaler(), on = digits.train)\n"
        "g = fit(random_forest(), on = digits.train + digits.valid)\n"
        "s = accuracy(finetune(f >> net, on = digits.train), on = digits.test)\nt = accuracy(g, on = digits.test)"
    ),
    "measuring test classes": "s = study(digits.train, split_classes(digits.test, [[0, 1]])[0])",
}


def found(text: str) -> list[str]:
    return [each.code for each in compile_text(HEAD + text, "test.etude", Path()).diagnostics]


@pytest.mark.parametrize("name", WRONG)
def test_a_leak_is_refused(name: str) -> None:
    code, text = WRONG[name]
    assert found(text) == [code]


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_no_leak_is_not(name: str) -> None:
    assert found(RIGHT[name]) == []


def test_a_fit_to_test_inputs_alone_is_transductive_and_so_is_what_learns_from_it() -> None:
    text = "f = fit(pca(4), on = all)\ng = fit(pca(4), on = digits.test)\n"
    assert found(text + "s = accuracy(finetune(g >> linear(10), on = digits.train), on = digits.valid)") == [
        "W501",
        "W501",
    ]


def test_rows_of_a_program_count_as_new_ones_but_carry_its_marks() -> None:
    text = """
made = external("make", inputs = {rows: digits.test}, outputs = {rows: {image: "float[8, 8, 1]", label: "label(10)"}})
m    = finetune(net, on = made.rows)
"""
    diagnostics = compile_text(HEAD + text, "test.etude", Path(), allowed={"external"}).diagnostics
    assert [each.code for each in diagnostics] == ["E501"]
    other = text.replace("digits.test", "digits.train") + "s = accuracy(m, on = digits.test)"
    compilation = compile_text(HEAD + other, "test.etude", Path(), allowed={"external"})
    assert compilation.diagnostics == []
    assert [s.kind for s in compilation.workflow.stages.values()].count("overlap") == 1  # type: ignore[union-attr]
