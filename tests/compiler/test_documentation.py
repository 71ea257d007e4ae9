"""What is known of a name: its signature as it is written, its words, its papers, its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.compiler import documentation

ROOT = Path(__file__).parents[2]


def one(name: str) -> documentation.Entry:
    (entry,) = documentation.find(name)
    return entry


@pytest.mark.parametrize("name", ["simclr", "ssl.simclr", "std.ssl.simclr"])
def test_a_function_is_found_by_its_name_and_by_its_path(name: str) -> None:
    entry = one(name)
    assert (entry.path, entry.kind, entry.is_open) == ("std.ssl.simclr", "function", False)
    assert entry.signature == "fn simclr(view: fn, head: Model, temperature: float = 0.5)"
    assert entry.arguments == (("view", "fn", None), ("head", "Model", None), ("temperature", "float", "0.5"))
    assert entry.papers == ["Chen et al., 2020"]


def test_a_model_has_inputs() -> None:
    entry = one("self_attention")
    assert (entry.kind, entry.inputs[0]) == ("model", "x")


def test_a_signature_over_many_lines_is_one_line() -> None:
    assert one("pretrain").signature.startswith("fn pretrain(m: Model, on: Dataset, method: Record, ")
    assert one("pretrain").signature.endswith(") -> Model")


def test_a_builtin_has_the_defaults_of_its_python() -> None:
    assert one("sgd").signature.startswith("sgd(lr = 0.01, momentum = 0.0, weight_decay = 0.0, nesterov = false")
    assert one("auroc").doc != ""
    assert one("he_normal").papers == ["He et al., 2015"]


def test_an_operation_has_the_kinds_of_its_row() -> None:
    entry = one("softmax")
    assert (entry.kind, entry.signature) == ("operation", "softmax(x: float, axis: axis = -1)")


def test_a_builtin_hides_the_operation_that_it_is_made_of() -> None:
    assert one("dropout").kind == "builtin"


def test_every_place_is_one() -> None:
    for group in documentation.groups():
        for entry in group.entries:
            lines = (ROOT / entry.file).read_text().splitlines()
            if entry.kind != "value" and entry.name not in documentation.PLAIN:
                assert any(entry.name in line for line in lines[entry.line - 1 : entry.line + 2]), entry.path


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("simclrr", "std.ssl.simclr"),
        ("ssl.byoll", "std.ssl.byol"),
        ("softmaxx", "softmax"),
        ("std.losse", "std.losses"),
    ],
)
def test_an_unknown_name_has_a_nearest_one(wrong: str, right: str) -> None:
    assert documentation.find(wrong) == []
    assert documentation.find_group(wrong) is None
    assert documentation.suggestion(wrong) == right


def test_keywords_are_found_by_name() -> None:
    entry = one("expect")
    assert (entry.kind, entry.group, entry.file) == ("keyword", "keywords", "grammar/etude.lark")
    assert "judged after the run" in entry.doc
