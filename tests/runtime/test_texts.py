"""Recipes on texts: functions of texts, tokens of fixed length, packed tokens and what they are decoded to."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.compiler.workflow import Workflow
from etude.runtime.compiling import compile_text
from etude.runtime.datasets import Dataset
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.stages.text import value
from etude.runtime.store import Store

NOTES = "One fish\ntwo Fish\n\nred fish, blue fish\nthe end"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("texts")
    (base / "notes.txt").write_text(NOTES)
    return base


def compiled(text: str, base: Path) -> Workflow:
    compilation = compile_text(text, "test.etude", base)
    assert compilation.workflow is not None, [each.message for each in compilation.diagnostics]
    return compilation.workflow


def performed(text: str, base: Path) -> RunResult:
    result = run(compiled(text, base), store=Store(base / "store"), backend="torch", base=base, jobs=1)
    assert not result.failed, [stage.failure for stage in result.failed]
    return result


def data_of(result: RunResult, kind: str) -> Dataset:
    *_, stage = (stage for stage in result.stages.values() if stage.kind == kind)
    return Dataset.open(result.store, stage.outputs["data"])


def test_functions_of_texts_in_every_stage_that_takes_a_function_of_rows(folder: Path) -> None:
    text = """
notes = load("notes.txt")
rows  = notes |> map(({text}) => {
  low: lower(text) + "!", kept: text, kind: "note", size: length(text), n: words(text), has: contains(text, "fish"),
  is_end: text == "the end", many: count(lower(text), "fish"), starts: match(text, "^[a-z]+ [A-Z]"), l: lines(text)
})
some  = rows |> filter(row => row.has and length(row.low) > 5 and row.low != "one fish!")
best1 = rows |> top(1examples, by = row => count(row.low, "fish"))
means = measure(on = best1, row => length(replace(row.low, "fish", "")) + row.n)
shown = texts(rows, column = "kept", count = 2)
first = measure(on = some, row => row.size)
"""
    result = performed(text, folder)
    rows = data_of(result, "map")
    assert rows.column("low").tolist() == ["one fish!", "two fish!", "red fish, blue fish!", "the end!"]
    assert rows.column("kept").tolist() == [line for line in NOTES.splitlines() if line]
    assert rows.column("kind").tolist() == ["note"] * 4
    assert rows.column("size").tolist() == [8, 8, 19, 7] and rows.column("n").tolist() == [2, 2, 4, 2]
    assert rows.column("has").tolist() == [True, False, True, False]
    assert rows.column("is_end").tolist() == [False, False, False, True]
    assert rows.column("many").tolist() == [1, 1, 2, 0] and rows.column("l").tolist() == [1] * 4
    assert rows.column("starts").tolist() == [False, True, False, False]
    assert result.metrics["means"] == 16.0 and result.metrics["first"] == 19.0
    dropped = data_of(result, "drop")
    assert set(dropped.columns) == set(rows.columns)
    (table,) = (stage for stage in result.stages.values() if stage.kind == "texts")
    assert result.store.read_json(table.outputs["table"])["rows"][1][:2] == ["two Fish", "two fish!"]


def test_tokens_have_a_mask_or_are_packed_and_come_back_as_texts(folder: Path) -> None:
    text = """
notes = load("notes.txt")
tok   = bytes()
fixed = notes |> tokenize(tok, length = 10, bounds = true)
again = texts(decode(fixed, tok))
there = measure(on = fixed, ({mask}) => sum(mask))
right = measure(on = fixed, ({ids}) => ids[0] == tok.bos and max(ids) < tok.size)
rows  = notes |> tokenize(tok) |> filter(({ids}) => length(ids) > 7)
few   = pack(rows, 6)
parts = texts(decode(few, tok))
count_of_rows = measure(on = few, ({ids}) => {n: sum(ids > 0)})
"""
    result = performed(text, folder)
    assert result.metrics["there"] == 9.75 and result.metrics["right"] == 1.0
    shown = [stage for stage in result.stages.values() if stage.kind == "texts"]
    assert result.store.read_json(shown[0].outputs["table"])["rows"] == [
        ["One fish"], ["two Fish"], ["red fish,"], ["the end"]
    ]  # fmt: skip
    made = data_of(result, "pack")
    assert made.column("ids").shape == (6, 6)  # 38 tokens with the ends of three texts
    assert result.store.read_json(shown[1].outputs["table"])["rows"][:2] == [["One fi"], ["sh"]]


def test_a_text_that_has_too_few_tokens_for_a_row_is_told(folder: Path) -> None:
    text = (
        'notes = load("notes.txt")\nfew = notes |> tokenize(bytes()) |> pack(1000)\nm = measure(on = few, ({ids}) => 1)'
    )
    result = run(compiled(text, folder), store=Store(folder / "store"), backend="torch", base=folder, jobs=1)
    (failed,) = result.failed
    assert failed.failure is not None and "there are not 1000 tokens to fill one row with" in failed.failure["message"]


def test_the_budget_in_tokens_is_in_rows_of_tokens(folder: Path) -> None:
    text = """
notes = load("notes.txt")
tok   = bytes()
net   = embed(tok.size, 2) >> linear(tok.size)
t     = train(on = notes |> tokenize(tok) |> pack(4), update = net) {
  loss   = ({ids}) => cross_entropy(net(ids), ids)
  batch  = 2
  budget = 80tokens
}
"""
    (stage,) = (stage for stage in compiled(text, folder).stages.values() if stage.kind == "train")
    assert stage.spec["budget"] == {"examples": 20}


def test_vocabularies_follow_tokens_and_leave_numbers(folder: Path) -> None:
    text = """
tok  = bytes()
rows = load("notes.txt") |> tokenize(tok, length = 8)
hid  = rows |> map(({ids, mask}) => {ids: where(bernoulli(20%, like = ids), tok.mask, ids), mask})
turn = rows |> map(({ids}) => {ids: flip(ids, axis = 0)[2:5], n: ids + 1, p: where(ids > 9, ids, 9000)})
m    = measure(on = hid, ({ids}) => 1)
k    = measure(on = turn, ({ids}) => 1)
"""
    first, second = (stage.outputs["data"] for stage in compiled(text, folder).stages.values() if stage.kind == "map")
    assert first == "Dataset[{ids: int32[8] below 261 of tok, mask: bool[8]}]"
    assert second == "Dataset[{ids: int32[3] below 261 of tok, n: int32[8], p: int32[8]}]"


def test_an_expression_of_texts_is_evaluated_from_the_inside() -> None:
    expression = ["count", ["replace", ["lower", ["column", "x"]], ["text", "a"], ["text", "bb"]], ["text", "b"]]
    assert value(expression, {"x": "A Banana"}) == 9
