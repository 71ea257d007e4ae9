from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.compiler.schema import ColumnSchema
from etude.runtime.sources import SourceError, chunks, describe, load, npz


@pytest.fixture
def save(tmp_path: Path) -> Any:
    def saved(compressed: bool = False, **arrays: Any) -> Path:
        path = tmp_path / "data.npz"
        (np.savez_compressed if compressed else np.savez)(path, **{k: np.asarray(v) for k, v in arrays.items()})
        return path

    return saved


def described(path: Path, **options: Any) -> dict[str, ColumnSchema]:
    return {column.name: column for column in describe(path.name, options, path.parent).columns}


def loaded(path: Path, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    return load(path.name, options, path.parent)


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_columns_of_the_types_of_the_language(save: Any, compressed: bool) -> None:
    path = save(compressed, x=np.ones((3, 2)), n=np.arange(3), b=[True, False, True], t=["a", "bb", "é"])
    assert {name: str(column) for name, column in described(path).items()} == {
        "x": "float32[2]",
        "n": "int32[]",
        "b": "bool[]",
        "t": "text",
    }
    assert describe(path.name, {}, path.parent).rows == 3
    values = loaded(path)
    assert [str(value.dtype) for value in values.values()] == ["float32", "int32", "bool", "object"]
    assert values["t"].tolist() == ["a", "bb", "é"]


def test_an_image_of_bytes_becomes_numbers_from_zero_to_one_with_a_channel(save: Any) -> None:
    path = save(image=np.full((2, 4, 5), 255, np.uint8))
    assert described(path)["image"] == ColumnSchema("image", "tensor", "float32", (4, 5, 1))
    image = loaded(path)["image"]
    assert image.shape == (2, 4, 5, 1) and image.dtype == np.float32 and image.max() == 1.0


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "uint64", ">i4", "<i2"])
def test_the_classes_of_a_label_are_counted_without_numpy(save: Any, dtype: str) -> None:
    path = save(x=np.zeros(4), label=np.array([0, 4, 1, 2], dtype))
    assert described(path)["label"] == ColumnSchema("label", "label", "int32", (), 5)
    assert loaded(path)["label"].tolist() == [0, 4, 1, 2]


@pytest.mark.parametrize("dtype", ["<U5", ">U5"])
def test_a_label_of_texts_gets_numbers_by_its_sorted_names(save: Any, dtype: str) -> None:
    path = save(label=np.array(["dog", "cat", "dog"], dtype))
    assert described(path)["label"].class_names == ("cat", "dog")
    assert loaded(path)["label"].tolist() == [1, 0, 1]


def test_classes_and_the_name_of_the_label_can_be_declared(save: Any) -> None:
    path = save(kind=np.array(["b", "a"]), n=np.array([0, 1]))
    assert loaded(path, label="kind", classes=["b", "a"])["kind"].tolist() == [0, 1]
    assert described(path, label="n", classes=7)["n"].classes == 7
    with pytest.raises(SourceError, match="expected one of b"):
        loaded(path, label="kind", classes=["b"])


def test_a_cut_off_archive_is_refused(save: Any) -> None:
    path = save(x=np.arange(10_000.0))
    data = path.read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 10):
        path.write_bytes(data[:length])
        with pytest.raises(SourceError, match="not a complete archive") as caught:
            described(path)
        assert caught.value.file == str(path)


def test_an_archive_with_a_changed_byte_is_refused_when_it_is_loaded(save: Any) -> None:
    path = save(x=np.arange(10_000.0))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(SourceError, match="not a complete archive"):
        loaded(path)


def test_arrays_with_different_numbers_of_rows_are_refused(save: Any) -> None:
    with pytest.raises(SourceError, match='expected 3 as "x", got 4'):
        described(save(x=np.zeros(3), y=np.zeros(4)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}, {}], dtype=object), "expected numbers, truth values or text"),
        (np.zeros(2, dtype="complex64"), "got <c8"),
        (np.float32(1), "has no rows"),
        (np.array([["a"], ["b"]]), "one text a row"),
    ],
)
def test_arrays_that_are_no_columns_are_refused(save: Any, array: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        described(save(x=array))


def test_a_number_that_does_not_fit_is_refused_with_its_row(save: Any) -> None:
    with pytest.raises(SourceError, match="row 1: expected -2147483648 to 2147483647, got 2147483648"):
        loaded(save(x=np.array([0, 2**31])))


def test_a_label_that_is_a_matrix_or_unknown_is_refused(save: Any) -> None:
    path = save(label=np.zeros((2, 2)), other=np.zeros(2))
    assert str(described(path)["label"]) == "float32[2]"
    with pytest.raises(SourceError, match="expected one integer or text a row"):
        described(path, label="label")
    with pytest.raises(SourceError) as caught:
        described(path, label="lable")
    assert caught.value.hint == 'did you mean "label"?'


def test_an_archive_without_arrays_and_a_member_that_is_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(SourceError, match="holds no arrays"):
        described(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", "nothing")
    with pytest.raises(SourceError, match='"x" is not a numpy array'):
        described(path)


def test_an_array_can_be_declared_the_target(save: Any) -> None:
    path = save(x=np.zeros((2, 3)), y=np.zeros(2))
    assert [name for name, column in described(path, target="y").items() if column.is_target] == ["y"]
    with pytest.raises(SourceError, match='no column is called "z"'):
        described(path, target="z")


def test_arrays_are_read_a_few_rows_at_a_time(save: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "CHUNK_BYTES", 100)
    turned = np.asfortranarray(np.arange(60, dtype=np.int16).reshape(20, 3))
    path = save(x=np.arange(40, dtype=">f8").reshape(20, 2), n=turned, t=[f"t{i}" for i in range(20)])
    pieces = list(chunks(path.name, {}, path.parent))
    assert len(pieces) == 10
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    assert joined["x"].tolist() == np.arange(40).reshape(20, 2).tolist()
    assert joined["n"].tolist() == turned.tolist()
    assert joined["t"].tolist() == [f"t{i}" for i in range(20)]


def test_a_number_that_is_no_class_in_row_70000_is_named(save: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "CHUNK_BYTES", 1 << 12)
    path = save(label=np.where(np.arange(80_000) == 70_000, -1, 1))
    with pytest.raises(SourceError, match='array "label", row 70000: expected 0 to 1, got -1'):
        loaded(path)
    names = save(label=np.where(np.arange(80_000) == 70_000, "c", "a"))
    with pytest.raises(SourceError, match='label "label", row 70000: expected one of a, b, got "c"'):
        loaded(names, classes=["a", "b"])


def test_an_archive_of_no_rows_has_its_columns(save: Any) -> None:
    assert {name: values.shape for name, values in loaded(save(x=np.zeros((0, 3)))).items()} == {"x": (0, 3)}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<f8", b"@f8"),
        (b"<f8", b"<f5"),
        (b"'descr'", b"'desk' "),
        (b"(2000,", b"(-200,"),
        (b"{", b"["),
        (b"False", b"Fal()"),
    ],
)
def test_a_damaged_head_of_an_array_is_told(save: Any, old: bytes, new: bytes) -> None:
    path = save(x=np.zeros((2000, 9)))
    data = path.read_bytes()
    assert data.count(old) >= 1
    path.write_bytes(data.replace(old, new.ljust(len(old)), 1))
    with pytest.raises(SourceError, match=r'data.npz: (the head of array "x" is damaged|array "x")'):
        loaded(path)


def test_a_damaged_directory_of_an_archive_is_told(save: Any) -> None:
    path = save(x=np.zeros((20, 3)))
    data = path.read_bytes()
    place = data.rindex(b"PK\x05\x06") + 16  # where the directory starts
    path.write_bytes(data[:place] + b"\xff\xff\xff\x7f" + data[place + 4 :])
    with pytest.raises(SourceError, match="not a complete archive of arrays"):
        loaded(path)


def test_a_number_too_large_for_32_bits_is_named(save: Any) -> None:
    with pytest.raises(SourceError, match=r'array "x", row 2: expected a number below 3.4e38, got 1e[+]300'):
        loaded(save(x=[[1.0, 2.0], [np.inf, 0.0], [0.0, 1e300]]))
