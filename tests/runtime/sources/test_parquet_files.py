from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from etude.compiler.schema import ColumnSchema
from etude.runtime.sources import SourceError, chunks, describe, load
from etude.runtime.sources import parquet as module


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(row_group_size: int | None = None, **columns: Any) -> Path:
        path = tmp_path / "data.parquet"
        parquet.write_table(pa.table(columns), path, row_group_size=row_group_size)
        return path

    return write


def columns(path: Path, **options: Any) -> dict[str, ColumnSchema]:
    return {column.name: column for column in describe(path.name, options, path.parent).columns}


def values(path: Path, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    return load(path.name, options, path.parent)


def refused(path: Path, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        values(path, **options)
    return caught.value


def test_columns_have_the_types_of_the_language(save: Callable[..., Path]) -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6.0)), 2)
    path = save(
        x=pa.array([1.5, 2, 3]), n=pa.array([1, 2, 3], pa.int16()), b=[True, False, True], t=["a", "b", "c"],
        v=vectors, m=[[[1], [2]]] * 3, label=["dog", "cat", "dog"],
    )  # fmt: skip
    assert {name: str(column) for name, column in columns(path).items()} == {
        "x": "float32[]", "n": "int32[]", "b": "bool[]", "t": "text", "v": "float32[2]", "m": "int32[2, 1]",
        "label": "label(2)",
    }  # fmt: skip
    assert describe(path.name, {}, path.parent).rows == 3
    found = values(path)
    assert found["v"].tolist() == [[0, 1], [2, 3], [4, 5]] and found["m"].shape == (3, 2, 1)
    assert found["label"].tolist() == [1, 0, 1] and found["b"].dtype == bool
    assert list(found) == ["x", "n", "b", "t", "v", "m", "label"]


def test_lists_of_classes_and_boxes_are_read_as_from_json(save: Callable[..., Path]) -> None:
    path = save(tags=[["a"], ["a", "b"]], boxes=[[[0.0, 1.0]], []])
    found = values(path, types={"tags": "labels"}, length={"boxes": 2}, target="boxes")
    assert found["tags"].tolist() == [[1, 0], [1, 1]]
    assert found["boxes"].tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 0]]]
    assert found["boxes_mask"].tolist() == [[True, False], [False, False]]


def test_every_row_comes_once_and_in_order(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(row_group_size=300, n=list(range(1000)))
    monkeypatch.setattr(module, "MAX_CHUNK_ROWS", 70)
    pieces = [chunk["n"] for chunk in chunks(path.name, {}, path.parent)]
    assert len(pieces) > 10 and np.concatenate(pieces).tolist() == list(range(1000))


def test_a_file_that_is_cut_off_is_refused(save: Callable[..., Path]) -> None:
    path = save(x=list(range(10_000)))
    data = path.read_bytes()
    for length in (0, 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        error = refused(path)
        assert "not a complete Parquet file" in error.message and error.file == str(path)
        assert error.expected and error.got == f"{length:,} bytes that break off or are damaged"


def test_a_damaged_page_is_refused(save: Callable[..., Path]) -> None:
    path = save(x=np.random.default_rng(0).normal(size=50_000))
    data = bytearray(path.read_bytes())
    data[10:2000] = bytes(1990)
    path.write_bytes(bytes(data))
    assert refused(path).file == str(path)


@pytest.mark.parametrize(
    ("column", "expected", "got"),
    [
        (pa.array([1] * 69_999 + [None, 2]), "one integer", "null"),
        (pa.array([1] * 69_999 + [2**40, 2]), "an integer of 32 bits", str(2**40)),
        (pa.array([[1, 2]] * 69_999 + [[1], [1, 2]]), "integers of shape [2]", "[1]"),
        (pa.array(["a"] * 69_999 + [None, "a"]), "a text", "null"),
    ],
)
def test_a_wrong_value_in_row_69999_is_refused(save: Callable[..., Path], column: Any, expected: str, got: str) -> None:
    error = refused(save(x=column))
    assert error.message == 'row 69999, column "x"'
    assert (error.column, error.expected, error.got) == ("x", expected, got)


def test_values_that_are_no_columns_are_refused_or_left_out(save: Callable[..., Path]) -> None:
    path = save(day=pa.array([0], pa.date32()), x=[1.0])
    assert refused(path).column == "day"
    assert list(values(path, columns="x")) == ["x"]
    assert refused(save(x=pa.array([], pa.int32()))).message == "the file has no rows"


def test_pictures_within_the_file_are_decoded(save: Callable[..., Path], paint: Callable[..., Path]) -> None:
    data = paint("a.png", (2, 2), 255).read_bytes()
    path = save(image=[{"bytes": data, "path": "a.png"}, {"bytes": data, "path": None}])
    assert values(path, types={"image": "image"})["image"].tolist() == [[[[1.0]] * 2] * 2] * 2
    path = save(image=[data, data[:40]])
    error = refused(path, types={"image": "image"})
    assert error.message == 'row 1, column "image"' and error.expected == "a picture that can be read"


def test_the_schema_is_remembered_until_the_file_changes(save: Callable[..., Path]) -> None:
    path = save(x=[1.0])
    wait_until_settled(path)
    assert str(columns(path)["x"]) == "float32[]"
    code = (
        "import sys; from pathlib import Path; from etude.runtime.sources import describe\n"
        f"assert describe({path.name!r}, {{}}, Path({str(path.parent)!r})).rows == 1\n"
        "assert not {'numpy', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    save(x=[1, 2])
    assert str(columns(path)["x"]) == "int32[]"


def wait_until_settled(path: Path) -> None:
    while time.time() - path.stat().st_ctime < 2.1:
        time.sleep(0.1)


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(x=[1, 2])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(parquet, "ParquetFile", refuse)
    error = refused(path)
    assert error.message == "this file cannot be read: permission denied"
    assert error.file == str(path) and error.expected is None
