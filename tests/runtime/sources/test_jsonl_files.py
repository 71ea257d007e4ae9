from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.compiler.schema import ColumnSchema
from etude.runtime.sources import SourceError, describe, load

Write = Callable[[Sequence[Any]], Path]


def columns(path: Path, **options: Any) -> dict[str, ColumnSchema]:
    return {column.name: column for column in describe(path.name, options, path.parent).columns}


def values(path: Path, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    return load(path.name, options, path.parent)


def refused(path: Path, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        values(path, **options)
    return caught.value


def test_keys_are_columns_of_the_types_that_their_values_have(jsonl: Write) -> None:
    rows = [{"x": 1.5, "n": 2, "b": True, "t": "é", "v": [1, 2.5], "m": [[1], [2]], "label": "cat"}] * 2
    path = jsonl([*rows, {**rows[0], "x": 2, "label": "ant"}])
    assert {name: str(column) for name, column in columns(path).items()} == {
        "x": "float32[]", "n": "int32[]", "b": "bool[]", "t": "text", "v": "float32[2]", "m": "int32[2, 1]",
        "label": "label(2)",
    }  # fmt: skip
    assert describe(path.name, {}, path.parent).rows == 3
    found = values(path)
    assert found["x"].tolist() == [1.5, 1.5, 2] and found["label"].tolist() == [1, 1, 0]
    assert found["m"].shape == (3, 2, 1) and found["m"].dtype == np.int32
    assert found["t"].tolist() == ["é"] * 3


def test_a_number_can_be_the_target(jsonl: Write) -> None:
    path = jsonl([{"area": 10, "price": 1.5}])
    assert [name for name, column in columns(path, target="price").items() if column.is_target] == ["price"]
    assert refused(path, target="prize").hint == 'did you mean "price"?'


def test_several_classes_a_row_become_a_number_for_each_class(jsonl: Write) -> None:
    path = jsonl([{"tags": ["red", "big"]}, {"tags": []}, {"tags": ["big"]}])
    assert refused(path).hint == 'several classes a row: types = {tags: "labels"}'
    schema = columns(path, types={"tags": "labels"})["tags"]
    assert (str(schema), schema.class_names, schema.is_target) == ("float32[2]", ("big", "red"), True)
    assert values(path, types={"tags": "labels"})["tags"].tolist() == [[1, 1], [0, 0], [1, 0]]
    declared = {"types": {"tags": "labels"}, "classes": ["red", "green", "big"]}
    assert values(path, **declared)["tags"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 1]]
    assert "expected one of red" in str(refused(path, types={"tags": "labels"}, classes=["red"]))


def test_boxes_are_padded_to_the_declared_length_with_a_mask(jsonl: Write) -> None:
    path = jsonl([{"boxes": [[0, 0, 2, 2], [1, 1, 3, 3.5]], "kinds": [1, 0]}, {"boxes": [], "kinds": []}])
    error = refused(path)
    assert (error.line, error.column, error.hint) == (2, "boxes", "pad them: length = {boxes: 2}")
    options = {"length": {"boxes": 3, "kinds": 3}, "target": ["boxes", "kinds"]}
    found = columns(path, **options)
    assert {name: str(column) for name, column in found.items()} == {
        "boxes": "float32[3, 4]", "boxes_mask": "bool[3]", "kinds": "int32[3]", "kinds_mask": "bool[3]",
    }  # fmt: skip
    assert [name for name, column in found.items() if column.is_target] == ["boxes", "kinds"]
    made = values(path, **options)
    assert made["boxes"][0].tolist() == [[0, 0, 2, 2], [1, 1, 3, 3.5], [0, 0, 0, 0]]
    assert made["boxes_mask"].tolist() == [[True, True, False], [False] * 3]
    assert made["kinds"].tolist() == [[1, 0, 0], [0, 0, 0]]


def test_more_boxes_than_declared_and_boxes_of_another_width_are_refused(jsonl: Write) -> None:
    rows = [{"boxes": [[0, 0, 1, 1]]}] * 1500
    path = jsonl([*rows, {"boxes": [[0, 0, 1, 1]] * 3}])
    assert (
        str(refused(path, length=2))
        .splitlines()[0]
        .endswith('.jsonl:1501: column "boxes": expected at most 2 items, got 3')
    )
    assert 'jsonl:1501: column "boxes": expected items that are numbers of shape [4]' in str(
        refused(jsonl([{"boxes": [[0.5, 0, 1, 1]]}] * 1500 + [{"boxes": [[0, 0, 1]]}]), length=2)
    )


@pytest.mark.parametrize(
    ("first", "broken", "expected", "got"),
    [
        (1, "x", "one integer", '"x"'),
        (1, 2.5, "one integer", "2.5"),
        (1, True, "one integer", "true"),
        (1, None, "one integer", "null"),
        (1, 2**40, "an integer of 32 bits", str(2**40)),
        (1.5, "x", "one number", '"x"'),
        (1.5, 1e40, "a number below 3.4e38", "1e+40"),
        (True, 1, "one truth value", "1"),
        ("a", 1, "a text", "1"),
        ([1, 2], [1, 2, 3], "integers of shape [2]", "[1, 2, 3]"),
        ([1.5, 2], [1, "x"], "numbers of shape [2]", '[1, "x"]'),
    ],
)
def test_a_wrong_type_in_row_70000_is_refused_with_its_line(
    jsonl: Write, first: Any, broken: Any, expected: str, got: str
) -> None:
    error = refused(jsonl([{"x": first}] * 69_999 + [{"x": broken}] + [{"x": first}]))
    assert (error.line, error.column, error.expected, error.got) == (70_000, "x", expected, got)


def test_a_line_that_breaks_off_is_refused_with_its_line(jsonl: Write) -> None:
    path = jsonl([{"x": 1}] * 3)
    path.write_bytes(path.read_bytes()[:-4])
    error = refused(path)
    assert error.line == 3 and "broken JSON" in error.message and "cut off" in str(error.hint)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file has no rows"),
        ("\n \n", "the file has no rows"),
        ('{"x": 1}\n[1]\n', ':2: not a row: expected an object such as {"x": 1}, got [1]'),
        ('{"x": 1}\n{"y": 1}\n', ':2: a row with other keys: expected the key "x" as in the first row'),
        ('{"x": 1}\n{"x": 1, "y": 1}\n', ":2: a row with other keys: expected the keys of the first row: x"),
        ('{"x": NaN}\n', ":1: broken JSON (NaN is not a number)"),
        ('{"x": {"y": 1}}\n', ':1: column "x": expected a number, a truth value'),
        ('{"x": 1}\n{"x": "a"}\n', ':2: column "x": expected a number as in the first row, got "a"'),
    ],
)
def test_lines_that_are_no_rows_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(text)
    assert message in str(refused(path))


def test_a_byte_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"x": "a"}\n{"x": "\xff"}\n')
    assert refused(path).line == 2


def test_only_some_columns_can_be_read(jsonl: Write) -> None:
    path = jsonl([{"x": 1, "meta": {"id": 3}}])
    assert list(values(path, columns=["x"])) == ["x"]
    assert refused(path, columns=["y"]).message == 'no column is called "y"'


def test_every_row_comes_once_and_in_order_however_the_file_is_cut(
    jsonl: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from etude.runtime.sources import chunks
    from etude.runtime.sources import jsonl as module

    path = jsonl([{"n": n} for n in range(5000)])
    monkeypatch.setattr(module, "CHUNK_BYTES", 1000)
    pieces = [chunk["n"].tolist() for chunk in chunks(path.name, {}, path.parent)]
    assert len(pieces) > 10 and [n for piece in pieces for n in piece] == list(range(5000))


def test_pictures_that_a_row_names_are_decoded(jsonl: Write, paint: Callable[..., Path]) -> None:
    paint("a.png", (2, 3), (255, 0, 0))
    paint("sub/b.png", (2, 3), (0, 255, 0))
    path = jsonl([{"image": "a.png", "boxes": [[0, 0, 1, 1]]}, {"image": "sub/b.png", "boxes": [[1, 1, 2, 2]]}])
    options = {"types": {"image": "image"}, "target": "boxes"}
    assert str(columns(path, **options)["image"]) == "float32[2, 3, 3]"
    assert values(path, **options)["image"][:, 0, 0].tolist() == [[1, 0, 0], [0, 1, 0]]
    paint("sub/b.png", (3, 3), (0, 255, 0))
    error = refused(path, **options)
    assert error.line == 2 and "b.png: it is 3 x 3" in str(error.got)
    assert values(path, **options, size=[4, 4], fit="resize")["image"].shape == (2, 4, 4, 3)
    (path.parent / "sub" / "b.png").unlink()
    error = refused(path, **options)
    assert error.line == 2 and "b.png: no such file" in str(error.got)


def test_nothing_heavy_is_imported_for_the_schema(jsonl: Write) -> None:
    import subprocess
    import sys

    path = jsonl([{"x": [1, 2], "label": "a"}])
    code = (
        "import sys; from pathlib import Path; from etude.runtime.sources import describe\n"
        f"describe({path.name!r}, {{}}, Path({str(path.parent)!r}))\n"
        "assert not {'numpy', 'pyarrow', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_fingerprint_is_the_hash_of_the_bytes(jsonl: Write) -> None:
    from etude.runtime.sources import find

    path = jsonl([{"x": 1}])
    assert json.loads(find(path.name).fingerprint(path.name, {}, path.parent, lambda p: p.read_text())) == {"x": 1}
