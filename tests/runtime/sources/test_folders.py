from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from etude.compiler.schema import ColumnSchema
from etude.runtime.datasets import Dataset
from etude.runtime.sources import SourceError, chunks, describe, find, load
from etude.runtime.sources import folder as module
from etude.runtime.stages import Job, Settings, execute
from etude.runtime.store import Store

Paint = Callable[..., Path]


def columns(base: Path, **options: Any) -> dict[str, ColumnSchema]:
    return {column.name: column for column in describe("pictures/", options, base).columns}


def values(base: Path, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    return load("pictures/", options, base)


def refused(base: Path, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        values(base, **options)
    return caught.value


@pytest.fixture
def animals(paint: Paint, tmp_path: Path) -> Path:
    for name, colour in (("dog/1.png", 255), ("cat/1.png", 0), ("cat/2.png", 51), ("dog/old/0.png", 102)):
        paint(f"pictures/{name}", (4, 6), colour)
    return tmp_path


def test_subfolders_are_classes_and_files_rows_in_the_order_of_their_names(animals: Path) -> None:
    found = columns(animals)
    assert found["image"] == ColumnSchema("image", "tensor", "float32", (4, 6, 1))
    assert found["label"].class_names == ("cat", "dog")
    made = values(animals)
    assert made["image"][:, 0, 0, 0] == pytest.approx([0, 0.2, 1, 0.4])
    assert made["label"].tolist() == [0, 0, 1, 1]
    assert describe("pictures", {}, animals) == describe("folder:pictures", {}, animals)


def test_a_folder_without_subfolders_has_no_label(paint: Paint, tmp_path: Path) -> None:
    paint("pictures/a.jpg")
    assert list(columns(tmp_path)) == ["image"]
    paint("pictures/sub/a.jpg")
    assert refused(tmp_path).message == "a file outside of the classes' folders"


def test_pictures_of_different_sizes_are_refused_with_the_first_two_that_differ(animals: Path, paint: Paint) -> None:
    paint("pictures/dog/1.png", (5, 6))
    paint("pictures/dog/2.png", (9, 9))
    error = refused(animals)
    assert error.file == str(animals / "pictures/dog/1.png")
    assert (error.expected, error.got) == ("4 x 6 pixels as cat/1.png", "5 x 6")
    assert error.hint == 'size = [4, 6], fit = "resize" or "crop"'
    assert refused(animals, size=[4, 6]).expected == "4 x 6 pixels as declared"


def test_pictures_are_stretched_or_cropped_to_the_declared_size(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    pixels = np.zeros((4, 8), np.uint8)
    pixels[:, 2:6] = 255
    Image.fromarray(pixels).save(tmp_path / "pictures/a.png")
    cropped = values(tmp_path, size=[4, 4], fit="crop")["image"]
    assert cropped.shape == (1, 4, 4, 1) and cropped.min() == 1
    stretched = values(tmp_path, size=[2, 2], fit="resize")["image"]
    assert stretched.shape == (1, 2, 2, 1) and stretched.ravel() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("channels", "expected"), [(1, [76 / 255]), (3, [1, 0, 0]), (4, [1, 0, 0, 1])])
def test_channels_are_declared(paint: Paint, tmp_path: Path, channels: int, expected: list[float]) -> None:
    paint("pictures/a.png", (2, 2), (255, 0, 0))
    assert values(tmp_path, channels=channels)["image"][0, 0, 0] == pytest.approx(expected, abs=0.01)


PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
KINDS = [
    *((mode, "png") for mode in PNG_MODES),
    ("L", "jpg"),
    ("RGB", "jpg"),
    ("L", "bmp"),
    ("RGB", "bmp"),
    ("P", "gif"),
]


@pytest.mark.parametrize(("mode", "ending"), KINDS)
def test_the_size_is_read_from_the_first_bytes_of_every_kind_of_file(tmp_path: Path, mode: str, ending: str) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new(mode, (5, 3)).save(tmp_path / f"pictures/a.{ending}")
    shape = columns(tmp_path)["image"].shape
    assert shape[:2] == (3, 5)
    assert values(tmp_path)["image"].shape == (1, *shape)


def test_sixteen_bits_of_grey_are_scaled(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.full((2, 2), 32_768, np.uint16)).save(tmp_path / "pictures/a.png")
    assert values(tmp_path)["image"].ravel() == pytest.approx(0.5, abs=0.01)


def test_a_mask_beside_a_picture_is_a_target_of_classes(paint: Paint, tmp_path: Path) -> None:
    paint("pictures/a.jpg", (4, 4), (9, 9, 9))
    paint("pictures/a_mask.png", (4, 4), 3)
    found = columns(tmp_path, masks="_mask")
    assert found["segments"] == ColumnSchema("segments", "tensor", "int32", (4, 4), is_target=True)
    assert values(tmp_path, masks="_mask", size=[2, 2], fit="resize")["segments"].tolist() == [[[3, 3], [3, 3]]]
    paint("pictures/b.jpg", (4, 4))
    error = refused(tmp_path, masks="_mask")
    assert error.file == str(tmp_path / "pictures/b.jpg") and error.expected == "beside it b_mask.png"


@pytest.mark.parametrize("length", [0, 5, 40])
def test_a_picture_that_cannot_be_read_is_refused_with_its_file_and_row(animals: Path, length: int) -> None:
    path = animals / "pictures/cat/2.png"
    path.write_bytes(path.read_bytes()[:length])
    error = refused(animals)
    assert (error.file, error.message, error.expected) == (str(path), "row 1", "a picture that can be read")


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    error = refused(tmp_path)
    assert error.message == "nothing to read in this folder" and ".png" in str(error.expected)
    with pytest.raises(SourceError, match="no folder is called") as caught:
        describe("picture/", {}, tmp_path)
    assert caught.value.hint == 'did you mean "pictures"?'


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 3}, "expected [height, width] in pixels, got 3"),
        ({"size": [2, 2], "fit": "cropp"}, 'no way to fit pictures is called "cropp"'),
        ({"fit": "crop"}, "fit without a size"),
        ({"channels": 2}, "expected 1, 3 or 4, got 2"),
    ],
)
def test_options_that_make_no_sense_are_refused(animals: Path, options: dict[str, Any], message: str) -> None:
    assert message in str(refused(animals, **options))


def test_every_picture_comes_once_and_in_order_from_the_workers(
    paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(200):
        paint(f"pictures/{n:03}.png", (2, 2), n)
    monkeypatch.setattr(module, "CHUNK_BYTES", 16 * 7)
    pieces = [chunk["image"][:, 0, 0, 0] for chunk in chunks("pictures/", {}, tmp_path)]
    assert len(pieces) == 29
    assert np.rint(np.concatenate(pieces) * 255).astype(int).tolist() == list(range(200))


def test_the_fingerprint_is_of_names_and_bytes_only(animals: Path, paint: Paint) -> None:
    def fingerprint() -> str:
        return find("pictures/").fingerprint("pictures/", {}, animals, str)

    before = fingerprint()
    os.utime(animals / "pictures/cat/1.png", (1, 1))
    assert fingerprint() == before
    paint("pictures/cat/1.png", (4, 6), 7)
    changed = fingerprint()
    assert changed != before
    (animals / "pictures/cat/1.png").rename(animals / "pictures/dog/3.png")
    assert fingerprint() not in {before, changed}


def test_texts_in_subfolders_are_rows_with_a_class(tmp_path: Path) -> None:
    for name in ("good/a.txt", "good/b.txt", "bad/a.txt"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).write_text(f"{name} é")
    made = values(tmp_path)
    assert made["file"].tolist() == ["bad/a.txt", "good/a.txt", "good/b.txt"]
    assert made["text"].tolist() == [f"{name} é" for name in made["file"]]
    assert made["label"].tolist() == [0, 1, 1]
    (tmp_path / "pictures/good/a.txt").write_bytes(b"ab\xff")
    error = refused(tmp_path)
    assert (error.message, error.expected, error.got) == ("row 1", "UTF-8", "byte 0xff at place 2")


def test_the_schema_of_png_and_jpeg_needs_no_picture_library(animals: Path, paint: Paint) -> None:
    paint("pictures/cat/9.jpg", (4, 6), 1)
    code = (
        "import sys; from pathlib import Path; from etude.runtime.sources import describe\n"
        f"describe('pictures/', {{}}, Path({str(animals)!r}))\n"
        "assert not {'numpy', 'pyarrow', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))]
)
def test_a_picture_is_held_as_its_exif_data_says(
    tmp_path: Path, ending: str, orientation: int, corner: tuple[int, int]
) -> None:
    picture, exif = Image.new("RGB", (48, 32)), Image.Exif()
    picture.paste((255, 255, 255), (0, 0, 16, 16))
    exif[0x0112] = orientation
    (tmp_path / "pictures").mkdir()
    picture.save(tmp_path / f"pictures/a.{ending}", exif=exif)

    size = (48, 32) if orientation >= 5 else (32, 48)
    assert columns(tmp_path)["image"].shape == (*size, 3)
    image = values(tmp_path)["image"][0]
    assert image.shape == (*size, 3)
    corners = {place: bool(image[place].mean() > 0.9) for place in ((0, 0), (0, -1), (-1, 0), (-1, -1))}
    assert [place for place, is_white in corners.items() if is_white] == [corner]


def test_folders_for_training_and_test_are_splits_with_the_same_classes(paint: Paint, tmp_path: Path) -> None:
    names = {"train/cat/1.png": 0, "train/dog/1.png": 51, "train/dog/2.png": 102, "test/dog/1.png": 153}
    for name, colour in names.items():
        paint(f"pictures/{name}", (4, 6), colour)

    schema = describe("pictures", {}, tmp_path)
    assert (schema.splits, schema.rows) == (("train", "test"), None)
    assert [column.class_names for column in schema.columns if column.name == "label"] == [("cat", "dog")]
    parts = {split: list(chunks("pictures", {}, tmp_path, split)) for split in schema.splits}
    assert {split: piece["label"].tolist() for split, (piece,) in parts.items()} == {"train": [0, 1, 1], "test": [1]}
    assert parts["test"][0]["image"][0, 0, 0, 0] == pytest.approx(0.6)
    assert values(tmp_path)["label"].tolist() == [0, 1, 1, 1]

    made = execute(_load_job(tmp_path))
    stored = {split: Dataset.open(Store(tmp_path / "store"), hash) for split, hash in made.outputs.items()}
    assert made.made == {"rows": {"train": 3, "test": 1}}
    assert {split: data.column("label").tolist() for split, data in stored.items()} == {"train": [0, 1, 1], "test": [1]}
    assert not set(stored["train"].ids) & set(stored["test"].ids)


def test_an_unreadable_picture_of_a_split_is_named_with_its_row_there(paint: Paint, tmp_path: Path) -> None:
    for name in ("train/a.png", "valid/a.png", "valid/b.png"):
        path = paint(f"pictures/{name}", (32, 32), 7)
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(SourceError) as caught:
        execute(_load_job(tmp_path))
    assert str(caught.value).startswith(f"{path}: row 1: expected a picture that can be read, got")


def _load_job(base: Path) -> Job:
    store = Store(base / "store")
    return Job(store=store, kind="load", spec={"uri": "pictures"}, inputs=[], settings=Settings(backend="torch"),
               base=base, folder=base)  # fmt: skip


def test_folders_that_are_called_so_but_not_only_so_are_classes(paint: Paint, tmp_path: Path) -> None:
    for name in ("train/1.png", "test/1.png", "ship/1.png"):
        paint(f"pictures/{name}")
    assert describe("pictures", {}, tmp_path).splits == ()
    assert columns(tmp_path)["label"].class_names == ("ship", "test", "train")


def test_a_picture_whose_head_says_that_it_has_no_rows_is_refused(paint: Paint, tmp_path: Path) -> None:
    path = paint("pictures/a.png", (8, 8), 1)
    data = path.read_bytes()
    path.write_bytes(data[:20] + b"\0\0\0\0" + data[24:])
    with pytest.raises(SourceError, match="expected a picture that can be read, got a picture without a pixel"):
        load("pictures/", {}, tmp_path)
