"""Predictions and exports of a run's models say the same as the run itself."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from etude.backends.base import load
from etude.runtime import sources
from etude.runtime.cli.main import main
from etude.runtime.datasets import Dataset
from etude.runtime.exports import onnx, write_export
from etude.runtime.predicting import plain, predictions, read_inputs
from etude.runtime.runs import Run, find_run
from etude.runtime.saved import ModelError, SavedModel, saved_model
from etude.runtime.store import Store

RECIPE = """
iris = load("sklearn:iris")
net  = mlp([8, 3])
flower = finetune(net, on = iris, budget = 3epochs)
seen = map(iris, row => {score: flower(row.features)})

model normed(width: int)(x) {
  h = linear(width)(x)
  m = running(mean(h, axis = 0), 0.1)
  return h - m
}
model both()(a, b) {
  h = normed(4)(a) + linear(4)(b)
  return {sum: sum(h, axis = -1), h}
}
pairs = map(iris, row => {a: row.features, b: row.features[0:2], y: row.features[0]})
pair = train(on = pairs, update = both(), budget = 2epochs) {
  loss = ({a, b, y}, {both}) => mean(square(both(a, b).sum - y))
}.both
said = map(pairs, row => pair(row.a, row.b))
alone = train(on = iris, update = {net: net}, loss = (x, y) => cross_entropy(net(x), y), budget = 2steps)
two = train(on = iris, update = {body: net, head: linear(3, seed = 1)}, budget = 2steps) {
  loss = ({features, label}, {body, head}) => cross_entropy(head(body(features)), label)
}
wanted = measure(said, row => row.sum) + measure(seen, row => sum(row.score))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the recipe was run."""
    folder = tmp_path_factory.mktemp("exports")
    (folder / "flowers.etude").write_text(RECIPE)
    assert main(["run", str(folder / "flowers.etude"), "--store", str(folder / "store"), "--backend", "torch"]) == 0
    return folder


@pytest.fixture
def store(made: Path) -> Store:
    return Store(made / "store")


@pytest.fixture
def run(store: Store) -> Run:
    return find_run(store)


@pytest.fixture
def flower(run: Run) -> SavedModel:
    return saved_model(run, "flower")


def mapped(run: Run, store: Store, name: str) -> Dataset:
    """What the run's own `map` of that name gave."""
    assert run.manifest is not None
    (stage,) = (each for each in run.manifest["stages"] if each["name"] == name)
    return Dataset.open(store, stage["outputs"]["data"])


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_predictions_are_those_of_the_run(flower: SavedModel, run: Run, store: Store, backend: str) -> None:
    columns = read_inputs(flower, "sklearn:iris")
    found = list(predictions(flower, columns, load(backend, device="cpu")))
    scores = mapped(run, store, "seen").column("score")
    assert np.allclose([each["output"] for each in found], scores, atol=1e-6)
    names = ["setosa", "versicolor", "virginica"]
    assert [each["class"] for each in found] == [names[i] for i in scores.argmax(axis=1)]


def test_a_model_of_several_inputs_and_outputs_takes_and_gives_them_by_name(run: Run, store: Store) -> None:
    pair = saved_model(run, "pair")
    assert pair.signature() == "a: float32[4], b: float32[2] -> sum: float32[], h: float32[4]"
    iris = sources.load("sklearn:iris", {}, Path())["features"]
    found = list(predictions(pair, {"a": iris, "b": iris[:, :2].copy()}, load("torch", device="cpu")))
    said = mapped(run, store, "said")
    assert np.allclose([each["sum"] for each in found], said.column("sum"), atol=1e-5)
    assert np.allclose([each["h"] for each in found], said.column("h"), atol=1e-5)
    assert "class" not in found[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('{"y": [1.0]}', "has no column 'features', which 'flower' takes as features: float32[4]"),
        ('{"features": [1.0, 2.0]}', "takes features: float32[4], but in rows.jsonl it is float32[2]"),
        ('{"features": "four"}', "takes features: float32[4], but in rows.jsonl it is text"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    flower: SavedModel, rows: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(f"{rows}\n")
    with pytest.raises(ModelError, match=message.replace("[", r"\[")):
        read_inputs(flower, "rows.jsonl")


def test_an_unknown_model_gets_the_nearest_name(run: Run) -> None:
    with pytest.raises(ModelError, match="no model 'flowr'") as caught:
        saved_model(run, "flowr")
    assert caught.value.hint == "did you mean 'flower'?"
    with pytest.raises(ModelError) as caught:
        saved_model(run, "xyz")
    assert caught.value.hint == "it has flower, pair, alone.net, two.body, two.head"


def test_what_a_training_gives_needs_no_name_of_its_own(run: Run, store: Store) -> None:
    iris = {"features": sources.load("sklearn:iris", {}, Path())["features"]}
    found = [list(predictions(saved_model(run, n), iris, load("torch", device="cpu"))) for n in ("alone", "alone.net")]
    assert found[0] == found[1] and "class" in found[0][0]
    with pytest.raises(ModelError, match="no model 'two'"):
        saved_model(run, "two")


def test_numbers_are_written_with_as_few_digits_as_tell_them_apart() -> None:
    assert plain(np.float32([0.1, 1e-8, np.inf])) == [0.1, 1e-08, None]
    assert plain(np.int32([[1, 2]])) == [[1, 2]]
    assert plain(np.zeros((0, 3), np.float32)) == []


def test_safetensors_hold_the_weights_and_where_they_come_from(flower: SavedModel, run: Run, tmp_path: Path) -> None:
    path = write_export(flower, "safetensors", tmp_path / "deep" / "flower.safetensors")
    with safe_open(path, "np") as held, safe_open(flower.weights, "np") as own:
        assert sorted(held.keys()) == sorted(own.keys()) == sorted(flower.paths)
        assert all(np.array_equal(held.get_tensor(name), own.get_tensor(name)) for name in flower.paths)
        told = held.metadata()
    assert (told["model"], told["recipe"], told["run"]) == ("flower", "flowers.etude", run.id)
    assert told["hash"] == flower.hash
    assert json.loads(told["classes"]) == ["setosa", "versicolor", "virginica"]
    assert "mlp(widths=[8, 3], act=relu)" in told["architecture"]


def imported(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("exported_for_a_test", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_shared_folder_gives_the_predictions_without_etude(
    flower: SavedModel, run: Run, store: Store, tmp_path: Path
) -> None:
    import torch

    folder = write_export(flower, "hf", tmp_path / "flower")
    source = (folder / "model.py").read_text()
    assert "etude." not in source.replace("flowers.etude", "")
    told = json.loads((folder / "config.json").read_text())
    assert told["id2label"] == {"0": "setosa", "1": "versicolor", "2": "virginica"}
    iris = sources.load("sklearn:iris", {}, Path())["features"]
    scores = imported(folder).load()(torch.from_numpy(iris)).numpy()
    assert np.allclose(scores, mapped(run, store, "seen").column("score"), atol=1e-6)


def test_a_shared_folder_of_several_inputs_gives_all_outputs(run: Run, store: Store, tmp_path: Path) -> None:
    import torch

    module = imported(write_export(saved_model(run, "pair"), "hf", tmp_path / "pair"))
    iris = torch.from_numpy(sources.load("sklearn:iris", {}, Path())["features"])
    made = module.load(tmp_path / "pair")(iris, iris[:, :2])
    said = mapped(run, store, "said")
    assert np.allclose(made["sum"].numpy(), said.column("sum"), atol=1e-5)
    assert np.allclose(made["h"].numpy(), said.column("h"), atol=1e-5)


def test_onnx_gives_the_predictions_for_any_number_of_rows(
    flower: SavedModel, run: Run, store: Store, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from onnx import load as load_onnx
    from onnx.reference import ReferenceEvaluator

    path = write_export(flower, "onnx", tmp_path / "flower.onnx")
    iris = sources.load("sklearn:iris", {}, Path())["features"]
    (scores,) = ReferenceEvaluator(str(path)).run(None, {"features": iris})
    assert np.allclose(scores, mapped(run, store, "seen").column("score"), atol=1e-5)
    told = {entry.key: entry.value for entry in load_onnx(path).metadata_props}
    assert (told["model"], told["run"]) == ("flower", run.id)


def test_without_the_packages_onnx_says_what_is_missing(flower: SavedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str) -> object | None:
        return None if name.startswith("onnx") else object()

    monkeypatch.setattr(onnx.importlib.util, "find_spec", found)
    with pytest.raises(ModelError, match="needs onnx and onnxscript, which are not installed") as caught:
        onnx.write(flower, Path("flower.onnx"))
    assert caught.value.hint == 'pip install "etude-lang[torch,onnx]"'


def test_the_commands_predict_and_export(
    made: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli: Callable[..., int] = lambda *arguments: main([*arguments, "--store", str(made / "store")])  # noqa: E731
    (tmp_path / "new.csv").write_text("y\n1\n")
    capsys.readouterr()
    assert cli("predict", "last", "flower", "--input", "sklearn:iris") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 150 and set(json.loads(lines[0])) == {"class", "output"}
    assert cli("predict", "last", "flower", "--input", "new.csv") == 2
    assert "hint: it has y: int32[]" in capsys.readouterr().err
    for part in ("train", "test"):
        (tmp_path / "notes" / part).mkdir(parents=True)
        (tmp_path / "notes" / part / "a.txt").write_text("a")
    assert cli("predict", "last", "flower", "--input", "notes") == 2
    assert "hint: name one of them: notes/train" in capsys.readouterr().err
    assert cli("predict", "last", "flower") == 2
    assert "--input - for JSON lines" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.read", lambda: '{"features": [5.1, 3.5, 1.4, 0.2]}\n', raising=False)
    assert cli("predict", "last", "flower", "--input", "-") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(lines[0])
    assert cli("export", "last", "flower") == 0
    assert capsys.readouterr().err == "wrote flower.safetensors: features: float32[4] -> output: float32[3]\n"
    assert (tmp_path / "flower.safetensors").is_file()
    assert cli("export", "last", "flower", "--to", "hf", "-o", "new.csv") == 2
