"""A trained model of tokens takes texts: from files and lines, by the tokenizer of its run."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from etude.backends.base import load
from etude.runtime.cli.main import main
from etude.runtime.datasets import Dataset
from etude.runtime.predicting import predictions, read_inputs
from etude.runtime.runs import Run, find_run
from etude.runtime.saved import ModelError, SavedModel, saved_model
from etude.runtime.store import Store

RECIPE = """
notes = load("notes.jsonl", label = "kind")
tok   = words(vocab = 30, on = notes)
data  = notes |> tokenize(tok, length = 5, bounds = true)
net   = finetune(text_encoder(tok.size, depth = 1, dim = 8, heads = 2) >> linear(2), on = data, budget = 2steps)
said  = data |> map(row => {score: net(row.ids, row.mask)})
check = measure(said, row => sum(row.score))
lm    = gpt(tok.size, depth = 1, dim = 8, heads = 2)
lines = notes |> drop("kind") |> tokenize(tok) |> pack(8)
wrote = train(on = lines, update = lm, budget = 1steps) {
  loss = ({ids}) => cross_entropy(lm(ids)[:, 0:-1], ids[:, 1:])
}.lm
"""
TEXTS = ["the red fish", "two plus two is four and so on", "a bird", "ten minus three"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    rows = [{"text": text, "kind": kind} for text, kind in zip(TEXTS, "anan", strict=True)]
    (folder / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "lines.txt").write_text("\n".join(TEXTS))
    (folder / "texts.etude").write_text(RECIPE)
    assert main(["run", str(folder / "texts.etude"), "--store", str(folder / "store"), "--backend", "torch"]) == 0
    return folder


@pytest.fixture
def run(made: Path) -> Run:
    return find_run(Store(made / "store"))


@pytest.fixture
def net(run: Run) -> SavedModel:
    return saved_model(run, "net")


def scores(model: SavedModel, uri: str) -> np.ndarray:  # type: ignore[type-arg]
    found = predictions(model, read_inputs(model, uri), load("torch"))
    return np.array([record["output"] for record in found], np.float32)


def test_texts_are_told_what_the_run_told_of_their_tokens(made: Path, run: Run, net: SavedModel) -> None:
    assert run.manifest is not None
    (said,) = (stage for stage in run.manifest["stages"] if stage["name"] == "said")
    wanted = Dataset.open(Store(made / "store"), said["outputs"]["data"]).column("score")
    for name in ("notes.jsonl", "lines.txt"):
        assert np.abs(scores(net, str(made / name)) - wanted).max() < 1e-6


@pytest.mark.parametrize("text", ["the red fish\na bird\n", '{"text": "the red fish"}\n{"text": "a bird"}\n'])
def test_lines_of_standard_input_may_be_plain(
    text: str, made: Path, net: SavedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert np.abs(scores(net, "-") - scores(net, str(made / "lines.txt"))[[0, 2]]).max() < 1e-6


def test_tokens_are_taken_as_they_are(made: Path, net: SavedModel) -> None:
    tokens = read_inputs(net, str(made / "lines.txt"))
    rows = [
        {"ids": ids.tolist(), "mask": mask.tolist()} for ids, mask in zip(tokens["ids"], tokens["mask"], strict=True)
    ]
    (made / "tokens.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert np.array_equal(scores(net, str(made / "tokens.jsonl")), scores(net, str(made / "lines.txt")))


def test_texts_for_a_model_of_packed_tokens_are_filled_up(made: Path, run: Run) -> None:
    model = saved_model(run, "wrote")
    ids = read_inputs(model, str(made / "lines.txt"))["ids"]
    assert ids.shape == (4, 8) and ids.dtype == np.int32
    assert [int((row != 0).sum()) for row in ids] == [3, 8, 2, 3]


def test_a_source_without_texts_is_refused(made: Path, net: SavedModel) -> None:
    (made / "numbers.csv").write_text("x\n1\n")
    with pytest.raises(ModelError, match="no column 'ids'") as raised:
        read_inputs(net, str(made / "numbers.csv"))
    assert str(raised.value.hint).endswith("texts in a column 'text' do as well")


def test_the_tokenizer_goes_with_the_model(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "shared"
    assert main(["export", "last", "net", "--to", "hf", "-o", str(target), "--store", str(made / "store")]) == 0
    assert "vocab" in json.loads((target / "tokenizer.json").read_text())["model"]
    archive = str(tmp_path / "run.tar")
    assert main(["store", "export", "last", "-o", archive, "--store", str(made / "store")]) == 0
    assert main(["store", "import", archive, "--store", str(tmp_path / "other")]) == 0
    elsewhere = saved_model(find_run(Store(tmp_path / "other")), "net")
    shutil.copy(made / "lines.txt", tmp_path)
    assert scores(elsewhere, str(tmp_path / "lines.txt")).shape == (4, 2)
