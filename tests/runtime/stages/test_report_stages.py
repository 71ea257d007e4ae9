from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.runtime.stages import Job, Settings, StageError, execute, presented
from etude.runtime.store import Store

Json = Any
TEACHER = [{"epoch": 1.0, "loss": 2.0, "lr": 0.1}, {"epoch": 2.0, "loss": 1.0, "lr": 0.1, "valid.accuracy": 0.5}]
SCRATCH = [{"epoch": 1.0, "loss": 3.0, "lr": 0.1, "valid.accuracy": 0.25}]


@pytest.fixture
def perform(store: Store, tmp_path: Path) -> Callable[..., Json]:
    """Execute a stage of JSON inputs; what its one output shows."""

    def performed(kind: str, spec: Json, *inputs: Json) -> Json:
        hashes = [store.objects.put_json(value) for value in inputs]
        settings = Settings(backend="torch")
        job = Job(store=store, kind=kind, spec=spec, inputs=hashes, settings=settings, base=tmp_path, folder=tmp_path)
        (output,) = execute(job).outputs.values()
        return presented(kind, spec, store.read_json(output))

    return performed


def test_a_table_has_a_row_for_each_record(perform: Any) -> None:
    rows = [["list", [["number", 0.1], ["input", 0]]], ["list", [["number", 0.2], ["number", None]]]]
    table = perform("table", {"expression": ["list", rows], "columns": ["lr", "accuracy"]}, 0.75)
    assert table == {"columns": ["lr", "accuracy"], "rows": [[0.1, 0.75], [0.2, None]]}


def plot(y: list[str] | None, **settings: Json) -> Json:
    series = [{"label": "teacher", "input": 0}, {"label": "scratch", "input": 1}]
    return {"series": series, "y": y, "x": "epoch", **settings}


def test_a_plot_takes_the_rows_that_have_the_column_and_the_labels_of_the_recipe(perform: Any) -> None:
    figure = perform("plot", plot(["valid.accuracy"]), TEACHER, SCRATCH)
    assert (figure["x"], figure["y"]) == ("epoch", ["valid.accuracy"])
    assert [(each["label"], each["x"], each["y"]) for each in figure["series"]] == [
        ("teacher", [2.0], [0.5]),
        ("scratch", [1.0], [0.25]),
    ]


def test_without_a_choice_the_losses_are_drawn(perform: Any) -> None:
    figure = perform("plot", plot(None), TEACHER, [{**SCRATCH[0], "valid.loss": 4.0}])
    assert figure["y"] == ["loss", "valid.loss"]
    assert [each["label"] for each in figure["series"]] == [
        "teacher loss",
        "teacher valid.loss",
        "scratch loss",
        "scratch valid.loss",
    ]


def test_columns_that_the_store_calls_otherwise_are_drawn_under_the_names_of_the_recipe(perform: Any) -> None:
    stored = [{"epoch": 1.0, "loss": 2.0, "0": 0.5, "1": 1.5}]
    series = [
        {"label": "first", "input": 0, "y": ["0"], "x": "epoch", "names": {"0": "task", "1": "size"}},
        {"label": "second", "input": 1, "y": ["1"], "x": "epoch", "names": {"0": "size", "1": "task"}},
    ]
    figure = perform("plot", {"series": series, "shown": {"y": ["task"], "x": "epoch"}}, stored, stored)
    assert (figure["x"], figure["y"]) == ("epoch", ["task"])
    assert [(each["label"], each["name"], each["y"]) for each in figure["series"]] == [
        ("first", "task", [0.5]),
        ("second", "task", [1.5]),
    ]


def test_the_losses_of_players_are_drawn_under_their_names(perform: Any) -> None:
    stored = [{"epoch": 1.0, "0.loss": 2.0, "1.loss": 0.5, "1.0": 0.25}]
    names = {"0.loss": "maker.loss", "1.loss": "critic.loss", "1.0": "critic.realness"}
    series = [{"label": "gan", "input": 0, "y": None, "x": "epoch", "names": names}]
    figure = perform("plot", {"series": series, "shown": {"y": None, "x": "epoch"}}, stored)
    assert figure["y"] == ["maker.loss", "critic.loss"]
    assert [(each["label"], each["y"]) for each in figure["series"]] == [
        ("gan maker.loss", [2.0]),
        ("gan critic.loss", [0.5]),
    ]


def test_a_computed_value_comes_from_its_inputs(perform: Any) -> None:
    assert perform("compute", {"expression": ["sub", ["input", 0], ["input", 1]]}, 3, 1) == 2


HEATMAP = {"expression": ["list", [["at", ["input", 0], 0], ["at", ["input", 0], 1]]], "x": "prediction", "y": "label"}


def test_a_heat_map_has_the_names_of_the_recipe(perform: Any) -> None:
    names = {"rows": ["cat", "dog"], "columns": None}
    assert perform("heatmap", {**HEATMAP, **names}, [[3, 1, 0], [0, 4, 0]]) == {
        "values": [[3, 1, 0], [0, 4, 0]],
        "rows": ["cat", "dog"],
        "columns": ["0", "1", "2"],
        "x": "prediction",
        "y": "label",
    }


def test_a_heat_map_of_what_was_not_measured_is_empty(perform: Any) -> None:
    assert perform("heatmap", {**HEATMAP, "rows": None, "columns": None}, None)["values"] == []


def test_a_heat_map_has_a_name_for_each_column_or_none(perform: Any) -> None:
    with pytest.raises(StageError, match="has 2 columns and 1 names"):
        perform("heatmap", {**HEATMAP, "rows": None, "columns": ["a"]}, [[1, 2], [3, 4]])


def test_the_rows_of_a_heat_map_have_one_length(perform: Any) -> None:
    with pytest.raises(StageError, match="lists of one length"):
        perform("heatmap", {**HEATMAP, "rows": None, "columns": None}, [[1, 2], [1]])
