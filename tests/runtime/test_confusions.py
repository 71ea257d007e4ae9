"""What a measure keeps of the classes beside its result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import confusion_matrix

from etude.compiler.keys import stage_key
from etude.compiler.schema import ColumnSchema
from etude.runtime.compiling import compile_text
from etude.runtime.confusions import MOST_CLASSES, PORT, Counts
from etude.runtime.datasets import Dataset
from etude.runtime.naming import shown_names, shown_output, shown_value
from etude.runtime.stages import Job, Settings, execute
from etude.runtime.store import Store

Json = Any
ROW = "({features, label}) =>"


def iris(store: Store, classes: int = 3) -> Dataset:
    names = ("setosa", "versicolor", "virginica") if classes == 3 else None
    columns = [
        ColumnSchema("features", "tensor", "float32", (4,)),
        ColumnSchema("label", "label", "int32", (), classes, names),
    ]
    data = load_iris()
    return Dataset.create(store, columns, {"features": np.float32(data.data), "label": np.int32(data.target)})


@pytest.fixture
def measured(store: Store, tmp_path: Path) -> Callable[..., Json]:
    """What the only measure of a recipe with the dataset `d` gives, and what it keeps beside."""

    def run(text: str, data: Dataset | None = None, backend: str = "torch") -> tuple[Json, Json]:
        recipe = f'd = load("sklearn:iris")\nnet = mlp([8, 3])\nm = {text}\n'
        compilation = compile_text(recipe, "test.etude", Path())
        assert compilation.workflow is not None, compilation.diagnostics
        (stage,) = (stage for stage in compilation.workflow.stages.values() if stage.kind == "measure")
        job = Job(
            store=store,
            kind="measure",
            spec=stage.spec,
            inputs=[(iris(store) if data is None else data).save()],
            settings=Settings(backend=backend),
            base=tmp_path,
            folder=tmp_path,
        )
        outputs = execute(job).outputs
        value, names = shown_value(stage, store.read_json(outputs["value"])), shown_names(stage)
        return value, shown_output(PORT, store.read_json(outputs[PORT]), names) if PORT in outputs else None

    return run


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_counts_are_those_of_scikit_learn(measured: Callable[..., Json], store: Store, backend: str) -> None:
    value, (kept,) = measured("accuracy(net, on = d)", backend=backend)
    guesses, _ = measured(f"measure(on = d, {ROW} confusion_counts(argmax(net(features)), label))", backend=backend)
    assert kept == {
        "of": "",
        "label": "label",
        "classes": ["setosa", "versicolor", "virginica"],
        "counts": guesses,
    }
    assert value == pytest.approx(np.trace(kept["counts"]) / 150)
    assert np.sum(kept["counts"], axis=1).tolist() == [50, 50, 50]


def test_the_backends_count_the_same(measured: Callable[..., Json]) -> None:
    text = "class_accuracy(net, on = d)"
    assert measured(text, backend="torch")[1] == measured(text, backend="jax")[1]


def test_labels_stand_down_and_predictions_across(measured: Callable[..., Json]) -> None:
    _, (kept,) = measured(f"measure(on = d, {ROW} int(features[2] > 2.0) + int(features[3] > 1.6) == label)")
    features, labels = load_iris(return_X_y=True)
    guesses = (features[:, 2] > 2.0).astype(int) + (features[:, 3] > np.float32(1.6))
    assert kept["counts"] == confusion_matrix(labels, guesses).tolist()


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("label == argmax(p)", [""]),
        ("1.0 - float(argmax(p) == label)", [""]),
        ("{right: argmax(p) == label, loss: cross_entropy(p, label)}", ["right"]),
        ("{a: f1(argmax(p), label), b: argmax(p) == label}", ["b"]),
        ("{a: argmax(p) == label, b: argmin(p) == label}", ["a", "b"]),
        ("matthews(argmax(p), label)", [""]),
        ("cross_entropy(p, label)", None),
        ("{value: argmax(p) == label, weight: features[0]}", None),
        ("argmax(p) == argmin(p)", None),
        ("label == 1", None),
        ("argmax(p) + 7 == label", None),
    ],
)
def test_what_is_compared_with_a_label_is_counted(
    measured: Callable[..., Json], text: str, paths: list[str] | None
) -> None:
    _, kept = measured(f"measure(on = d, {ROW} {{ p = net(features)  return {text} }})")
    assert (None if kept is None else [each["of"] for each in kept]) == paths


def test_of_too_many_classes_and_of_no_rows_nothing_is_kept(measured: Callable[..., Json], store: Store) -> None:
    text = "accuracy(net, on = d)"
    assert measured(text, iris(store, MOST_CLASSES))[1] is not None
    assert measured(text, iris(store, MOST_CLASSES + 1))[1] is None
    assert measured(text, iris(store).select(np.arange(0)))[1] is None


def test_a_measure_is_known_by_its_key_as_without_counts(store: Store) -> None:
    compilation = compile_text('d = load("sklearn:iris")\nm = accuracy(mlp([8, 3]), on = d)', "test.etude", Path())
    assert compilation.workflow is not None
    (stage,) = (stage for stage in compilation.workflow.stages.values() if stage.kind == "measure")
    before = stage_key(stage, ["data"], "torch", "float32")
    counts = Counts(stage.spec, iris(store))
    assert len(counts.spec["program"]["subs"][-1]["outputs"]) == len(stage.spec["program"]["subs"][-1]["outputs"]) + 1
    assert stage_key(stage, ["data"], "torch", "float32") == before
