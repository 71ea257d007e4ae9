from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from etude.runtime.sources import SourceError, available, describe, find, load, scheme


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("sklearn:digits", "sklearn"),
        ("data/train.csv", "csv"),
        ("/a/b.NPZ", "npz"),
        ("plain", "folder"),
        ("photos.v2/", "folder"),
        ("a.ndjson", "jsonl"),
        ("a.TSV", "csv"),
        ("C:\\x.csv", "csv"),
    ],
)
def test_a_uri_says_which_source_reads_it(uri: str, kind: str) -> None:
    assert scheme(uri) == kind


def test_the_sources_are_the_files_of_the_folder() -> None:
    assert {
        "sklearn",
        "csv",
        "npz",
        "jsonl",
        "parquet",
        "txt",
        "folder",
        "python",
        "networkx",
        "synthetic",
        "hf",
    } == set(available())


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("sklaern:digits", '"sklearn"'),
        ("x.cvs", '"csv"'),
        ("x.mat", "known sources: .csv"),
        ("x.json", "call the file .jsonl"),
        ("x.csv.gz", "unpack it first"),
        ("a/x.jpg", 'load("pictures/")'),
        ("model.pkl", "would run what is in it"),
    ],
)
def test_a_kind_that_nobody_reads_is_refused_with_a_hint(uri: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no source reads") as caught:
        describe(uri, {}, tmp_path)
    assert hint in str(caught.value.hint)


def test_a_missing_file_is_refused_with_the_nearest_names(numbers: Path) -> None:
    with pytest.raises(SourceError, match="no file is called") as caught:
        describe("number.csv", {}, numbers.parent)
    assert caught.value.hint == 'did you mean "numbers.csv"?'


def test_a_missing_folder_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SourceError, match="no folder is called"):
        describe("nowhere/x.csv", {}, tmp_path)
    with pytest.raises(SourceError, match="this is a folder"):
        describe("folder.csv", {}, tmp_path)


def test_an_unknown_option_is_refused_with_the_nearest(numbers: Path) -> None:
    with pytest.raises(SourceError, match='"lable"') as caught:
        describe("numbers.csv", {"lable": "x"}, numbers.parent)
    assert caught.value.hint == 'did you mean "label"?'


def test_a_role_can_be_given_and_a_wrong_one_is_refused(numbers: Path) -> None:
    assert describe("numbers.csv", {}, numbers.parent).role == "train"
    assert describe("numbers.csv", {"role": "test"}, numbers.parent).role == "test"
    with pytest.raises(SourceError) as caught:
        describe("numbers.csv", {"role": "tets"}, numbers.parent)
    assert caught.value.hint is not None and '"test"' in caught.value.hint


def test_a_data_set_that_scikit_learn_does_not_ship_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match='"digit"') as caught:
        describe("sklearn:digit", {}, tmp_path)
    assert caught.value.hint == 'did you mean "digits"?'


@pytest.mark.parametrize("name", ["digits", "iris", "wine", "breast_cancer"])
def test_the_table_of_scikit_learn_agrees_with_its_data(name: str, tmp_path: Path) -> None:
    uri = f"sklearn:{name}"
    schema, columns = describe(uri, {}, tmp_path), load(uri, {}, tmp_path)
    assert [column.name for column in schema.columns] == list(columns)
    for column in schema.columns:
        values = columns[column.name]
        assert (str(values.dtype), values.shape) == (column.dtype, (schema.rows, *column.shape))
        if column.kind == "label":
            assert set(values.tolist()) == set(range(column.classes or 0))
    if name == "digits":
        assert (columns["image"].min(), columns["image"].max()) == (0.0, 1.0)


def test_the_class_names_of_scikit_learn_are_its_own(tmp_path: Path) -> None:
    from sklearn import datasets

    for name in ("iris", "wine", "breast_cancer"):
        label = describe(f"sklearn:{name}", {}, tmp_path).column("label")
        assert label is not None
        assert label.class_names == tuple(getattr(datasets, f"load_{name}")().target_names)


def test_the_fingerprint_of_scikit_learn_names_its_version(tmp_path: Path) -> None:
    import sklearn

    found = find("sklearn:digits").fingerprint("sklearn:digits", {}, tmp_path, lambda path: "")
    assert found == f"sklearn:digits:{sklearn.__version__}"


def test_describing_and_fingerprinting_import_no_array_library(numbers: Path) -> None:
    program = """
import sys
from pathlib import Path
from etude.runtime.sources import describe, find
for uri in ("numbers.csv", "sklearn:digits"):
    describe(uri, {}, Path(sys.argv[1]))
    find(uri).fingerprint(uri, {}, Path(sys.argv[1]), str)
assert not {"numpy", "pyarrow", "sklearn"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program, str(numbers.parent)], check=True)


def test_a_file_that_is_not_for_us_is_told_where_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "numbers.csv")

    (tmp_path / "numbers.csv").write_text("x\n1\n")
    monkeypatch.setattr(find("numbers.csv"), "schema", refused)
    with pytest.raises(SourceError, match="this cannot be read: permission denied"):
        describe("numbers.csv", {}, tmp_path)
