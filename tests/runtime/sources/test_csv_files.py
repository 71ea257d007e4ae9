from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.compiler.schema import ColumnSchema
from etude.runtime.sources import SourceError, csv, describe, load


def described(path: Path, **options: Any) -> dict[str, ColumnSchema]:
    return {column.name: column for column in describe(path.name, options, path.parent).columns}


def loaded(path: Path, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    return load(path.name, options, path.parent)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(text: str | bytes) -> Path:
        path = tmp_path / "data.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return written


def test_types_are_sniffed_and_values_read(write: Any) -> None:
    path = write('a,b,c,d,label\n1,-2.5e1,true,"x, y",dog\n-3,.5,False,,cat\n')
    columns = described(path)
    assert {name: str(column) for name, column in columns.items()} == {
        "a": "int32[]",
        "b": "float32[]",
        "c": "bool[]",
        "d": "text",
        "label": "label(2)",
    }
    assert columns["label"].class_names == ("cat", "dog")
    values = loaded(path)
    assert {name: value.tolist() for name, value in values.items()} == {
        "a": [1, -3],
        "b": [-25.0, 0.5],
        "c": [True, False],
        "d": ["x, y", ""],
        "label": [1, 0],
    }
    assert [str(value.dtype) for value in values.values()] == ["int32", "float32", "bool", "object", "int32"]


def test_the_number_of_rows_is_known_where_the_sniffed_rows_are_all(write: Any) -> None:
    assert describe("data.csv", {}, write("x\n" + "1\n" * 1000).parent).rows == 1000
    assert describe("data.csv", {}, write("x\n" + "1\n" * 1001).parent).rows is None


def test_an_integer_label_counts_its_classes_from_zero(write: Any) -> None:
    path = write("x,label\n1,0\n2,3\n")
    assert described(path)["label"] == ColumnSchema("label", "label", "int32", (), 4)
    assert loaded(path)["label"].tolist() == [0, 3]


def test_a_label_of_another_name_and_its_classes_can_be_declared(write: Any) -> None:
    path = write("x,kind\n1,a\n2,b\n")
    options = {"label": "kind", "classes": ["b", "a", "c"]}
    assert described(path, **options)["kind"] == ColumnSchema("kind", "label", "int32", (), 3, ("b", "a", "c"))
    assert loaded(path, **options)["kind"].tolist() == [1, 0]


def test_numbers_of_declared_classes_are_understood(write: Any) -> None:
    assert loaded(write("label\n1\n0\n"), classes=["no", "yes"])["label"].tolist() == [1, 0]


def test_a_declared_type_wins_over_the_sniffed(write: Any) -> None:
    path = write("code,y\n1,1\n2,2\n")
    assert str(described(path, types={"code": "text", "y": "float"})["code"]) == "text"
    values = loaded(path, types={"code": "text", "y": "float"})
    assert values["code"].tolist() == ["1", "2"] and values["y"].dtype == np.float32


def test_a_fractional_label_stays_a_number(write: Any) -> None:
    assert str(described(write("label\n0.5\n1\n"))["label"]) == "float32[]"


def test_another_delimiter_a_byte_order_mark_and_blank_lines_are_read(write: Any) -> None:
    path = write("\ufeffx;y\n1;2\n\n3;4\n")
    assert loaded(path, delimiter=";")["x"].tolist() == [1, 3]


@pytest.mark.parametrize("row", [70_000, 999, 1000, 1001, csv.CHUNK_ROWS - 1, csv.CHUNK_ROWS])
def test_a_wrong_type_is_refused_with_file_and_line(write: Any, row: int) -> None:
    lines = ["x,y"] + [f"{i}.5,{i}" for i in range(70_001)]
    lines[row + 1] = "oops,1"
    path = write("\n".join(lines) + "\n")
    with pytest.raises(SourceError) as caught:
        loaded(path)
    error = caught.value
    sniffed = row < csv.SNIFFED_ROWS
    expected = "a number, as in 999 of the first 1,000 rows" if sniffed else "float32"
    assert (error.file, error.line, error.column) == (str(path), row + 2, "x")
    assert (error.expected, error.got) == (expected, '"oops"')
    assert str(error).startswith(f'{path}:{row + 2}: column "x": expected {expected}, got "oops"')


def test_a_column_with_many_words_among_its_numbers_is_text_and_so_is_one_declared_so(write: Any) -> None:
    words = write("x\n" + "1\n" * 16 + "a\n" * 2)
    assert str(described(words)["x"]) == "text"
    declared = write("x\n" + "1\n" * 99 + "a\n")
    assert str(described(declared, types={"x": "text"})["x"]) == "text"


def test_lines_are_counted_in_the_file_even_where_cells_span_several(write: Any) -> None:
    path = write('x,y\n"two\nlines",1\n"more\n\nlines",oops\n')
    with pytest.raises(SourceError) as caught:
        loaded(path, types={"y": "int"})
    assert caught.value.line == 6


@pytest.mark.parametrize(
    ("cell", "kind", "expected"),
    [
        ("", "float", "float32"),
        ("nan", "float", "float32"),
        ("1e99", "float", "float32"),
        ("1.5", "int", "int32"),
        ("3000000000", "int", "int32"),
        ("yes", "bool", "true or false"),
    ],
)
def test_a_cell_of_another_type_than_declared_is_refused(write: Any, cell: str, kind: str, expected: str) -> None:
    with pytest.raises(SourceError) as caught:
        loaded(write(f"x,y\n{cell},1\n"), types={"x": kind})
    assert (caught.value.line, caught.value.expected) == (2, expected)


def test_a_class_that_came_after_the_sniffed_rows_is_refused(write: Any) -> None:
    path = write("label\n" + "a\nb\n" * 600 + "c\n")
    with pytest.raises(SourceError) as caught:
        loaded(path)
    assert (caught.value.line, caught.value.expected, caught.value.got) == (1202, "one of a, b", '"c"')
    assert "classes = " in str(caught.value.hint)
    assert loaded(path, classes=["a", "b", "c"])["label"][-1] == 2


def test_a_class_number_that_is_too_large_is_refused(write: Any) -> None:
    with pytest.raises(SourceError) as caught:
        loaded(write("label\n" + "0\n1\n" * 600 + "2\n"))
    assert caught.value.expected == "a class from 0 to 1"


def test_a_negative_class_is_refused_at_once(write: Any) -> None:
    with pytest.raises(SourceError) as caught:
        described(write("label\n1\n-1\n"))
    assert (caught.value.line, caught.value.got) == (3, "-1")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "the file is empty"),
        ("x,y\n", None, "no rows"),
        ("x,x\n1,2\n", 1, 'two columns are called "x"'),
        ("x,\n1,2\n", 1, "column 2 has no name"),
        ("x,y\n1,2\n1\n", 3, "another length: expected 2 cells as in the header, got 1"),
        ("x,y\n1,2\n1,2,3\n", 3, "got 3"),
        ('x,y\n1,"2\n', 2, "broken CSV"),
        (b"x,y\n1,2\n\xff,2\n", 3, "not UTF-8"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(write: Any, text: str | bytes, line: int | None, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        described(write(text))
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"types": {"z": "int"}}, "columns: alpha, beta"),
        ({"types": {"alphas": "int"}}, '"alpha"'),
        ({"types": {"alpha": "integer"}}, '"int"'),
        ({"label": "bet"}, '"beta"'),
    ],
)
def test_a_wrong_declaration_is_refused_with_a_hint(write: Any, options: dict[str, Any], hint: str) -> None:
    with pytest.raises(SourceError) as caught:
        described(write("alpha,beta\n1,2\n"), **options)
    assert hint in str(caught.value.hint)


def test_a_number_can_be_declared_the_target(write: Any) -> None:
    path = write("area,price\n1,2.5\n")
    assert [name for name, column in described(path, target="price").items() if column.is_target] == ["price"]
    with pytest.raises(SourceError) as caught:
        described(path, target=["prize"])
    assert caught.value.hint == 'did you mean "price"?'


def test_the_cells_of_a_tsv_are_separated_by_tabs(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("x\tnote\n1\ta, b\n2\tc\n")
    assert load("a.tsv", {}, tmp_path)["note"].tolist() == ["a, b", "c"]
    (tmp_path / "b.tsv").write_text("x;y\n1;2\n")
    assert load("b.tsv", {"delimiter": ";"}, tmp_path)["y"].tolist() == [2]
