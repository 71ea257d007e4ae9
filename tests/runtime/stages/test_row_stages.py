from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.program.builder import Builder
from etude.backends.program.ir import Literal, Operand, StageProgram
from etude.backends.program.serialize import program_to_json
from etude.backends.program.types import TensorType
from etude.compiler.schema import ColumnSchema
from etude.runtime.datasets import Dataset
from etude.runtime.stages import Job, Settings, StageError, execute
from etude.runtime.store import Store

Json = Any
Body = Callable[[Builder, Operand], Sequence[tuple[str, Operand]]]
FLOAT = TensorType("float32")
X = ColumnSchema("x", "tensor", "float32")
VALUES = [3.0, 1.0, 4.0, 1.0, 5.0]


def program(body: Body) -> Json:
    """A row program of the column x, without weights."""
    build = Builder("row")
    outputs = body(build, build.input("x", FLOAT))
    return {
        "program": program_to_json(StageProgram(build.build(outputs), ())),
        "slots": [],
        "seed": 0,
        "identity": "ab" * 16,
    }


@pytest.fixture
def data(store: Store) -> Dataset:
    return Dataset.create(store, [X], {"x": np.float32(VALUES)})


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def perform(store: Store, tmp_path: Path, warnings: list[str]) -> Callable[[str, Json, Dataset], Mapping[str, str]]:
    """Execute a stage in this process; its outputs."""

    def performed(kind: str, spec: Json, dataset: Dataset) -> Mapping[str, str]:
        job = Job(
            store=store,
            kind=kind,
            spec=spec,
            inputs=[dataset.save()],
            settings=Settings(backend="torch"),
            base=tmp_path,
            folder=tmp_path,
            emit=lambda event: warnings.append(event["message"]),
        )
        result = execute(job)
        assert result.source is not None and b"def " in store.objects.read(result.source)
        return result.outputs

    return performed


def itself(build: Builder, x: Operand) -> Sequence[tuple[str, Operand]]:
    return [("", x)]


def test_a_filter_keeps_the_rows_that_its_program_says(store: Store, perform: Any, data: Dataset) -> None:
    spec = program(lambda build, x: [("", build.apply("gt", [x, Literal(2.0)])[0])])
    kept = Dataset.open(store, perform("filter", spec, data)["data"])
    assert kept.column("x").tolist() == [3.0, 4.0, 5.0]
    assert kept.ids.tolist() == data.ids[[0, 2, 4]].tolist()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"count": 2}, [4.0, 5.0]),
        ({"share": 0.6}, [3.0, 4.0, 5.0]),
        ({"count": 4}, [3.0, 1.0, 4.0, 5.0]),
        ({"count": 0}, []),
    ],
)
def test_top_keeps_the_highest_in_their_own_order(
    store: Store, perform: Any, data: Dataset, wanted: Json, expected: list[float]
) -> None:
    kept = Dataset.open(store, perform("top", {**program(itself), **wanted}, data)["data"])
    assert kept.column("x").tolist() == expected


def test_of_equal_values_top_keeps_the_earliest_and_no_number_is_never_high(store: Store, perform: Any) -> None:
    dataset = Dataset.create(store, [X], {"x": np.float32([np.nan, 1, 2, 1, 1])})
    kept = Dataset.open(store, perform("top", {**program(itself), "count": 3}, dataset)["data"])
    assert kept.ids.tolist() == dataset.ids[[1, 2, 3]].tolist()


def mapping(body: Body, columns: Json, keep: Sequence[str] = ()) -> Json:
    return {**program(body), "columns": columns, "keep": list(keep)}


def test_a_map_adds_columns_and_keeps_those_it_is_told_to(store: Store, perform: Any, data: Dataset) -> None:
    spec = mapping(
        lambda build, x: [("half", build.apply("mul", [x, Literal(0.5)])[0])],
        [["half", ["float32", []], {"kind": "tensor"}]],
        ["x"],
    )
    mapped = Dataset.open(store, perform("map", spec, data)["data"])
    assert mapped.column("half").tolist() == [1.5, 0.5, 2.0, 0.5, 2.5]
    assert mapped.columns["x"] == data.columns["x"], "a column that passes through is not written again"
    assert mapped.ids.tolist() == data.ids.tolist()


def test_a_map_to_a_label_gives_one_with_names_and_checks_it(store: Store, perform: Any, data: Dataset) -> None:
    kind = {"kind": "label", "classes": 6, "names": list("abcdef")}
    spec = mapping(lambda build, x: [("y", build.cast(x, "int32"))], [["y", ["int32", []], kind]])
    mapped = Dataset.open(store, perform("map", spec, data)["data"])
    assert mapped.schema("y") == ColumnSchema("y", "label", "int32", (), 6, tuple("abcdef"))
    assert list(mapped.columns) == ["y"]
    spec["columns"][0][2] = {"kind": "label", "classes": 5}
    with pytest.raises(StageError, match=r'column "y": expected label\(5\), got 5 in row 4'):
        perform("map", spec, data)


def test_a_measure_averages_numbers_and_truth_values(store: Store, perform: Any, data: Dataset) -> None:
    assert store.read_json(perform("measure", program(itself), data)["value"]) == pytest.approx(2.8)

    def record(build: Builder, x: Operand) -> Sequence[tuple[str, Operand]]:
        return [("mean", x), ("large", build.apply("gt", [x, Literal(2.0)])[0])]

    found = store.read_json(perform("measure", program(record), data)["value"])
    assert found == {"mean": pytest.approx(2.8), "large": pytest.approx(0.6)}


def test_over_no_rows_there_is_no_value(store: Store, perform: Any, data: Dataset, warnings: list[str]) -> None:
    empty = data.select(np.array([], dtype=np.int64))
    assert store.read_json(perform("measure", program(itself), empty)["value"]) is None
    assert Dataset.open(store, perform("filter", program(_positive), empty)["data"]).rows == 0
    assert warnings == []


def _positive(build: Builder, x: Operand) -> Sequence[tuple[str, Operand]]:
    return [("", build.apply("gt", [x, Literal(0.0)])[0])]


def test_a_mean_that_is_not_finite_is_no_value_and_warned_about(
    store: Store, perform: Any, warnings: list[str]
) -> None:
    dataset = Dataset.create(store, [X], {"x": np.float32([1, np.inf])})
    assert store.read_json(perform("measure", program(itself), dataset)["value"]) is None
    assert warnings == ["the mean of the measured value is not a finite number: it has no value"]
