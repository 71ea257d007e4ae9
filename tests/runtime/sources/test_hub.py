"""`hf:org/name`, with a stand-in for the package `datasets` that reads files of this machine."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures

from etude.runtime.sources import SourceError, chunks, describe, find

PACKAGE = """
import json
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parent / "hub"

class ClassLabel:
    def __init__(self, names): self.names = names
class Value:
    def __init__(self, dtype): self.dtype = dtype
class Image:
    def __init__(self, decode=True): self.decode = decode

def load_dataset_builder(name, config=None, revision=None):
    if not (ROOT / name).is_dir():
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub")
    card = json.loads((ROOT / name / "card.json").read_text())
    kinds = {"label": lambda v: ClassLabel(v), "image": lambda v: Image(), "value": Value}
    features = {column: kinds[kind](value) for column, (kind, value) in card["features"].items()}
    splits = {split: SimpleNamespace(num_examples=n) for split, n in card["splits"].items()}
    return SimpleNamespace(info=SimpleNamespace(features=features, splits=splits), hash=card["hash"])

class Rows(list):
    def cast_column(self, name, feature):
        assert not feature.decode
        return Rows({**row, name: {"bytes": bytes.fromhex(row[name]), "path": None}} for row in self)

def load_dataset(name, config=None, split=None, streaming=False, revision=None):
    assert streaming
    lines = (ROOT / name / f"{split}.jsonl").read_text().splitlines()
    return Rows(json.loads(line) for line in lines)
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which data sets lie as the stand-in finds them."""
    (tmp_path / "datasets.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    (tmp_path / "hub").mkdir()
    return tmp_path / "hub"


def put(hub: Path, name: str, features: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> None:
    import json

    folder = hub / name
    folder.mkdir(parents=True)
    card = {"features": features, "splits": {split: len(found) for split, found in rows.items()}, "hash": "ab12"}
    (folder / "card.json").write_text(json.dumps(card))
    for split, found in rows.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))


TEXTS = {"text": ["value", "string"], "label": ["label", ["neg", "pos"]], "score": ["value", "float32"]}


def rows(count: int) -> list[dict[str, Any]]:
    return [{"text": f"text {i}", "label": i % 2, "score": i / 2} for i in range(count)]


def test_splits_columns_and_classes_are_those_of_the_hub(hub: Path, tmp_path: Path) -> None:
    put(hub, "org/texts", TEXTS, {"train": rows(1500), "validation": rows(3)})
    found = describe("hf:org/texts", {}, tmp_path)
    assert found.splits == ("train", "valid")
    assert [str(column) for column in found.columns] == ["text", "label(2)", "float32[]"]
    assert found.columns[1].class_names == ("neg", "pos")
    pieces = list(chunks("hf:org/texts", {}, tmp_path, "train"))
    label = np.concatenate([piece["label"] for piece in pieces])
    assert len(pieces) == 2 and label.tolist() == [0, 1] * 750 and pieces[1]["text"][0] == "text 1000"
    assert [len(piece["text"]) for piece in chunks("hf:org/texts", {}, tmp_path, "valid")] == [3]


def test_one_split_is_a_dataset_with_its_size(hub: Path, tmp_path: Path) -> None:
    put(hub, "org/texts", TEXTS, {"train": rows(5), "test": rows(2)})
    options = {"split": "test", "columns": ["score", "label"], "role": "test"}
    found = describe("hf:org/texts", options, tmp_path)
    assert (found.splits, found.rows, found.role) == ((), 2, "test")
    (piece,) = chunks("hf:org/texts", options, tmp_path)
    assert sorted(piece) == ["label", "score"] and piece["score"].tolist() == [0.0, 0.5]


def test_pictures_are_read_from_their_bytes(hub: Path, tmp_path: Path) -> None:
    out = io.BytesIO()
    Pictures.new("L", (6, 4), 255).save(out, "png")
    features = {"image": ["image", None], "label": ["label", ["a", "b"]]}
    put(hub, "org/pictures", features, {"train": [{"image": out.getvalue().hex(), "label": 1}] * 2})
    assert str(describe("hf:org/pictures", {"split": "train"}, tmp_path).columns[0]) == "float32[4, 6, 1]"
    (piece,) = chunks("hf:org/pictures", {"split": "train"}, tmp_path)
    assert piece["image"].shape == (2, 4, 6, 1) and (piece["image"] == 1).all()


def test_the_version_of_the_files_is_its_fingerprint(hub: Path, tmp_path: Path) -> None:
    put(hub, "org/texts", TEXTS, {"train": rows(2)})
    assert find("hf:org/texts").fingerprint("hf:org/texts", {}, tmp_path, str) == "hf:org/texts:ab12"


def test_what_the_hub_does_not_give_is_a_sentence(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the hub does not give it: Couldn't reach 'org/none'") as error:
        describe("hf:org/none", {}, tmp_path)
    assert "connection" in str(error.value.hint)
    put(hub, "org/texts", TEXTS, {"train": rows(2)})
    with pytest.raises(SourceError, match='no split is called "dev"'):
        describe("hf:org/texts", {"split": "dev"}, tmp_path)


def test_without_the_package_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SourceError, match='needs the package "datasets"'):
        describe("hf:org/texts", {}, tmp_path)
