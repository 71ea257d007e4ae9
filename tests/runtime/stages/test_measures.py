"""Means by weight and by class, and metrics of a whole set, from recipes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.compiler.schema import ColumnSchema
from etude.runtime.compiling import compile_text
from etude.runtime.datasets import Dataset
from etude.runtime.naming import shown_value
from etude.runtime.stages import Job, Settings, execute
from etude.runtime.store import Store

Json = Any
COLUMNS = [ColumnSchema("features", "tensor", "float32", (4,)), ColumnSchema("label", "label", "int32", (), 3)]
FEATURES = np.float32([[1, 1, 0, 0], [2, 3, 0, 0], [3, 0, 0, 0], [6, 1, 0, 0]])


@pytest.fixture
def data(store: Store) -> Dataset:
    """Four rows of two of three classes."""
    return Dataset.create(store, COLUMNS, {"features": FEATURES, "label": np.int32([0, 1, 0, 1])})


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def measured(store: Store, tmp_path: Path, warnings: list[str]) -> Callable[..., Json]:
    """What `measure` makes of a dataset with an expression of x (the features) and y (the label)."""

    def run(data: Dataset, expression: str, settings: str = "") -> Json:
        text = f'd = load("sklearn:iris")\nm = measure(on = d, {settings} ({{features, label}}) => {expression})\n'
        compilation = compile_text(text + "report { t = table([{m: m}]) }", "test.etude", Path())
        assert compilation.workflow is not None, compilation.diagnostics
        (stage,) = (stage for stage in compilation.workflow.stages.values() if stage.kind == "measure")
        job = Job(
            store=store,
            kind="measure",
            spec=stage.spec,
            inputs=[data.save()],
            settings=Settings(backend="torch"),
            base=tmp_path,
            folder=tmp_path,
            emit=lambda event: warnings.append(event["message"]),
        )
        return shown_value(stage, store.read_json(execute(job).outputs["value"]))

    return run


BY = 'by = "label",'
WEIGHTED = "{value: features[0], weight: features[1]}"


def test_a_mean_may_be_weighted(measured: Any, data: Dataset) -> None:
    assert measured(data, WEIGHTED) == pytest.approx((1 + 6 + 6) / 5)
    found = measured(data, f"{{w: {WEIGHTED}, m: features[0]}}")
    assert found == {"w": pytest.approx(2.6), "m": 3.0}


def test_where_the_weights_sum_to_nothing_there_is_no_value(measured: Any, data: Dataset, warnings: list[str]) -> None:
    assert measured(data, "{value: features[0], weight: features[2]}") is None
    assert len(warnings) == 1


def test_a_mean_may_be_taken_of_each_class(measured: Any, data: Dataset, warnings: list[str]) -> None:
    assert measured(data, "features[0]", BY) == [2.0, 4.0, None]
    assert measured(data, "{a: features[0], b: features[1] > 0.5}", BY) == {"a": [2, 4, None], "b": [0.5, 1, None]}
    assert measured(data, WEIGHTED, BY) == [1.0, 3.0, None]
    assert warnings == [], "that a class has no rows is no fault"


def test_metrics_of_the_whole_set_stand_beside_means(measured: Any, data: Dataset) -> None:
    found = measured(data, "{area: auroc(features[0], label == 1), m: features[0]}")
    assert found == {"area": 0.75, "m": 3.0}
    assert measured(data, "auroc(-features[0], label == 1)") == 0.25


def test_metrics_may_be_taken_of_each_class(measured: Any, data: Dataset) -> None:
    assert measured(data, "balanced_accuracy(where(features[0] > 1.5, 1, 0), label)", BY) == [0.5, 1.0, None]


def test_a_metric_that_is_not_defined_has_no_value_and_is_warned_about(
    measured: Any, data: Dataset, warnings: list[str]
) -> None:
    assert measured(data, "auroc(features[0], label == 2)") is None
    assert warnings == ["auroc is not defined for these 4 rows: it has no value"]


@pytest.mark.parametrize("expression", ["features[0]", WEIGHTED, "auroc(features[0], label == 1)"])
def test_on_no_rows_there_is_no_value_of_any_kind(
    measured: Any, data: Dataset, warnings: list[str], expression: str
) -> None:
    empty = data.select(np.array([], np.int64))
    assert measured(empty, expression) is None
    assert measured(empty, expression, BY) == [None] * 3
    assert warnings == []
