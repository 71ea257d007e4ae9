"""Options and values that no source can make anything of are refused in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from etude.runtime.sources import SourceError, describe, load

OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"label": 3}, 'the option "label": expected the name of a column, got 3'),
    ({"label": None}, 'the option "label": expected the name of a column, got null'),
    ({"target": 3}, 'the option "target": expected names of columns, got 3'),
    ({"target": [3]}, 'the option "target": expected names of columns, got [3]'),
    ({"classes": 0}, 'the option "classes": expected a number of classes, a list of their names, or a record'),
    ({"classes": ["a", "a"]}, 'the option "classes": expected a number of classes, a list of their names'),
    ({"types": "x"}, 'the option "types": expected a record of types, such as {x: "float"}, got "x"'),
    ({"types": {"v": 3}}, 'the option "types": expected a record of types, such as {x: "float"}, got {"v": 3}'),
    ({"columns": []}, 'the option "columns": expected names of columns, got []'),
    ({"length": {"v": "a"}}, 'the option "length": expected a length, or a record of them by column, got {"v": "a"}'),
    ({"delimiter": ";;"}, 'the option "delimiter": expected one character, got ";;"'),
    ({"delimiter": 3}, 'the option "delimiter": expected one character, got 3'),
]
READ = {
    "a.jsonl": {"label", "target", "classes", "types", "columns", "length"},
    "a.parquet": {"label", "target", "classes", "types", "columns", "length"},
    "a.csv": {"label", "target", "classes", "types", "delimiter"},
    "a.npz": {"label", "target", "classes"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.jsonl").write_text('{"v": 1}\n{"v": 0}\n')
    (tmp_path / "a.csv").write_text("v\n1\n0\n")
    parquet.write_table(pa.table({"v": [1, 0]}), tmp_path / "a.parquet")
    np.savez(tmp_path / "a.npz", v=np.array([1, 0]))
    return tmp_path


@pytest.mark.parametrize("uri", READ)
def test_a_value_of_another_kind_is_refused(folder: Path, uri: str) -> None:
    for options, message in OPTIONS:
        if set(options) <= READ[uri]:
            with pytest.raises(SourceError) as caught:
                describe(uri, options, folder)
            assert message in str(caught.value)


@pytest.mark.parametrize("uri", ["a.csv", "a.npz", "a.jsonl", "a.parquet"])
def test_classes_may_be_declared_by_column(folder: Path, uri: str) -> None:
    (column,) = describe(uri, {"label": "v", "classes": {"v": 7}}, folder).columns
    assert column.classes == 7


@pytest.mark.parametrize("uri", READ)
def test_a_column_whose_classes_are_declared_is_a_label(folder: Path, uri: str) -> None:
    (column,) = describe(uri, {"classes": {"v": ["no", "yes"]}}, folder).columns
    assert (column.kind, column.class_names) == ("label", ("no", "yes"))
    assert load(uri, {"classes": {"v": 2}}, folder)["v"].tolist() == [1, 0]


@pytest.mark.parametrize("uri", READ)
def test_classes_of_no_column_are_refused(folder: Path, uri: str) -> None:
    wrong = [
        ({"classes": ["no", "yes"]}, "no column is the label, of v"),
        ({"classes": {"w": 2}}, 'no column is called "w"'),
    ]
    if "types" in READ[uri]:
        wrong.append(
            ({"classes": {"v": 2}, "types": {"v": "int"}}, 'classes are declared of the column "v", but its type')
        )
    for options, message in wrong:
        with pytest.raises(SourceError) as caught:
            describe(uri, options, folder)
        assert message in str(caught.value) and caught.value.hint


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([[1], ["a"]], {"types": {"v": "labels"}}, 'a.jsonl:2: column "v": expected a list of numbers of classes'),
        ([[{}]], {"types": {"v": "labels"}}, 'column "v": expected a list of names of classes, got [{}]'),
        ([[True]], {"types": {"v": "labels"}}, 'column "v": expected a list of names of classes, got [true]'),
        ([[-1]], {"types": {"v": "labels"}}, 'column "v": expected classes from 0 to 9,999,999, got [-1]'),
        ([[], []], {"types": {"v": "labels"}}, "hint: declare them: classes = {v: [..]}"),
        ([2**40], {"label": "v"}, 'column "v": expected a class below 10,000,000, got 1099511627776'),
        (["a", "\ud800x"], {}, r"""a.jsonl:2: column "v": expected a text, got half of a character in '\ud800x'"""),
        (["\ud800"], {"types": {"v": "image"}}, 'column "v": expected the file name of a picture'),
        ([[1, 2], [1, 2, 3]], {}, "length = {v: 3}"),
    ],
)
def test_a_value_that_is_none_of_its_kind_is_named(
    tmp_path: Path, values: list[Any], options: Mapping[str, Any], message: str
) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"v": value}) + "\n" for value in values))
    with pytest.raises(SourceError) as caught:
        load("a.jsonl", options, tmp_path)
    assert message in str(caught.value)


def test_lists_of_another_length_further_down_say_how_to_fill_them_up(tmp_path: Path) -> None:
    rows = [{"v": [1, 2]}] * 1500 + [{"v": [1, 2, 3]}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(SourceError) as caught:
        load("a.jsonl", {}, tmp_path)
    assert caught.value.line == 1501
    assert caught.value.hint == "lists of varying length are filled up: length = {..: 3}"


@pytest.mark.parametrize("uri", ["a.jsonl", "a.csv", "a.txt"])
def test_another_encoding_is_named_with_its_line_and_byte(tmp_path: Path, uri: str) -> None:
    rows = [json.dumps({"v": "a"}), json.dumps({"v": "é"}, ensure_ascii=False)] if uri == "a.jsonl" else ["a", "é"]
    (tmp_path / uri).write_bytes("\n".join(rows).encode("latin-1"))
    with pytest.raises(SourceError) as caught:
        load(uri, {}, tmp_path)
    assert (caught.value.line, caught.value.expected, caught.value.got) == (2, "UTF-8", "byte 0xe9")
    assert "iconv" in str(caught.value.hint)
