from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.compiler.schema import ColumnSchema
from etude.runtime.datasets import Dataset
from etude.runtime.stages import Job, Result, Settings, StageError, execute
from etude.runtime.store import Store

Json = Any
X = ColumnSchema("x", "tensor", "float32")
LABEL = ColumnSchema("label", "label", "int32", (), 2, ("no", "yes"))


@pytest.fixture
def data(store: Store) -> Dataset:
    """A hundred rows: x = 0 .. 99 and a label that is 1 for every fourth."""
    rows = np.arange(100)
    return Dataset.create(store, [X, LABEL], {"x": rows.astype("f4"), "label": (rows % 4 == 0).astype("i4")})


@pytest.fixture
def perform(store: Store, tmp_path: Path) -> Callable[..., Result]:
    """Execute a stage in this process."""

    def performed(kind: str, spec: Json, *inputs: Dataset) -> Result:
        hashes = [dataset.save() for dataset in inputs]
        settings = Settings(backend="torch")
        return execute(
            Job(store=store, kind=kind, spec=spec, inputs=hashes, settings=settings, base=tmp_path, folder=tmp_path)
        )

    return performed


@pytest.fixture
def one(store: Store, perform: Callable[..., Result]) -> Callable[..., Dataset]:
    """The dataset that a stage with one output makes."""
    return lambda *stage: Dataset.open(store, perform(*stage).outputs["data"])


def xs(dataset: Dataset) -> list[float]:
    return dataset.column("x").tolist()  # type: ignore[no-any-return]


SPLIT = {"parts": [["train", 0.6], ["valid", 0.2], ["test", 0.2]], "stratify": None, "group": None, "seed": 0}


def parts(store: Store, result: Result) -> dict[str, Dataset]:
    return {name: Dataset.open(store, hash) for name, hash in result.outputs.items()}


def test_the_parts_of_a_split_are_disjoint_and_exact(store: Store, perform: Any, data: Dataset) -> None:
    made = parts(store, perform("split", SPLIT, data))
    assert {name: part.rows for name, part in made.items()} == {"train": 60, "valid": 20, "test": 20}
    assert sorted(x for part in made.values() for x in xs(part)) == xs(data)
    assert all(xs(part) == sorted(xs(part)) for part in made.values())


def test_a_stratified_split_keeps_the_share_of_each_class(store: Store, perform: Any, data: Dataset) -> None:
    made = parts(store, perform("split", {**SPLIT, "stratify": "label"}, data))
    assert {name: int(part.column("label").sum()) for name, part in made.items()} == {
        "train": 15,
        "valid": 5,
        "test": 5,
    }


def test_another_seed_splits_otherwise_and_the_same_seed_the_same(perform: Any, data: Dataset) -> None:
    assert perform("split", SPLIT, data).outputs == perform("split", SPLIT, data).outputs
    assert perform("split", {**SPLIT, "seed": 1}, data).outputs != perform("split", SPLIT, data).outputs


def test_equal_parts_are_numbered(store: Store, perform: Any, data: Dataset) -> None:
    made = parts(store, perform("split", {**SPLIT, "parts": 8}, data))
    assert list(made) == list("01234567")
    assert sorted(part.rows for part in made.values()) == [12, 12, 12, 12, 13, 13, 13, 13]


def test_a_split_by_group_keeps_groups_whole(store: Store, perform: Any, data: Dataset) -> None:
    group = ColumnSchema("patient", "text", "text")
    names = np.array([f"p{i // 7}" for i in range(100)], dtype=object)
    made = parts(store, perform("split", {**SPLIT, "group": "patient"}, data.with_columns([group], {"patient": names})))
    owners = [set(part.column("patient")) for part in made.values()]
    assert sum(map(len, owners)) == len(set().union(*owners)) == 15
    assert sum(part.rows for part in made.values()) == 100


def test_a_split_that_asks_for_more_than_all_is_refused(perform: Any, data: Dataset) -> None:
    with pytest.raises(StageError, match=r"sum to 1\.1"):
        perform("split", {**SPLIT, "parts": [["a", 0.6], ["b", 0.5]]}, data)
    with pytest.raises(StageError, match="not both"):
        perform("split", {**SPLIT, "stratify": "label", "group": "x"}, data)


def test_shares_below_one_leave_rows_over(store: Store, perform: Any, data: Dataset) -> None:
    made = parts(store, perform("split", {**SPLIT, "parts": [["a", 0.25], ["b", 0.5]]}, data))
    assert [part.rows for part in made.values()] == [25, 50]


def test_a_sample_has_the_rows_asked_for(one: Any, data: Dataset) -> None:
    assert one("sample", {"share": 0.1, "stratify": None, "seed": 0}, data).rows == 10
    assert one("sample", {"count": 24, "stratify": None, "seed": 0}, data).rows == 24
    stratified = one("sample", {"share": 0.2, "stratify": "label", "seed": 0}, data)
    assert (stratified.rows, int(stratified.column("label").sum())) == (20, 5)


def test_a_sample_may_have_as_many_rows_of_each_value(one: Any, data: Dataset) -> None:
    few = one("sample", {"count": 5, "stratify": None, "per": "label", "seed": 0}, data)
    assert np.bincount(few.column("label")).tolist() == [5, 5]
    assert xs(few) == sorted(xs(few))
    share = one("sample", {"share": 0.2, "stratify": None, "per": "label", "seed": 0}, data)
    assert np.bincount(share.column("label")).tolist() == [15, 5]
    assert (
        one("sample", {"count": 5, "stratify": None, "per": "label", "seed": 1}, data).ids.tolist() != few.ids.tolist()
    )
    assert one("sample", {"count": 5, "per": "label", "seed": 0}, data.select(np.empty(0, np.int64))).rows == 0


def test_a_sample_of_more_than_a_value_has_is_refused(perform: Any, data: Dataset) -> None:
    with pytest.raises(StageError, match="label 1: expected at most 25 rows, as there are, got 26"):
        perform("sample", {"count": 26, "stratify": None, "per": "label", "seed": 0}, data)


def test_a_sample_of_more_than_all_is_refused(perform: Any, data: Dataset) -> None:
    with pytest.raises(StageError, match="expected at most 100 rows, as there are, got 101"):
        perform("sample", {"count": 101, "stratify": None, "seed": 0}, data)


def test_dropped_columns_are_gone_and_unknown_ones_refused(one: Any, perform: Any, data: Dataset) -> None:
    assert list(one("drop", {"columns": ["label"]}, data).columns) == ["x"]
    with pytest.raises(StageError, match='no column is called "y"'):
        perform("drop", {"columns": ["y"]}, data)


def test_a_union_has_the_rows_of_all_in_order_and_subtract_takes_them_away(one: Any, data: Dataset) -> None:
    first, second = data.select(np.array([3, 1])), data.select(np.array([7]))
    joined = one("union", {}, first, second, first)
    assert xs(joined) == [3, 1, 7, 3, 1]
    assert xs(one("subtract", {}, joined, first)) == [7]
    assert one("subtract", {}, data, data).rows == 0


def test_whole_numbers_are_fitted_to_a_label_with_a_check(store: Store, one: Any, perform: Any, data: Dataset) -> None:
    number = ColumnSchema("label", "tensor", "int32")
    guessed = data.with_columns([number], {"label": np.ones(100, np.int32)})
    for order in ((data, guessed), (guessed, data)):
        joined = one("union", {}, *order)
        assert joined.schema("label") == LABEL
        assert joined.rows == 200
    wrong = data.with_columns([number], {"label": np.full(100, 2, np.int32)})
    with pytest.raises(StageError, match=r'column "label": expected label\(2\), got 2 in row 0'):
        perform("union", {}, data, wrong)


def test_datasets_that_do_not_fit_are_not_united(perform: Any, data: Dataset) -> None:
    with pytest.raises(StageError, match="other columns: label, x and x"):
        perform("union", {}, data, data.keep(["x"]))
    wide = data.with_columns([ColumnSchema("x", "tensor", "float32", (1,))], {"x": np.zeros((100, 1), np.float32)})
    with pytest.raises(StageError, match=r'column "x": expected float32\[\], got float32\[1\]'):
        perform("union", {}, data, wide)
    renamed = data.with_columns(
        [ColumnSchema("label", "label", "int32", (), 2, ("a", "b"))], {"label": np.zeros(100, np.int32)}
    )
    with pytest.raises(StageError, match='column "label"'):
        perform("union", {}, data, renamed)


def test_a_file_that_changed_after_its_key_was_made_is_refused(store: Store, numbers: Path) -> None:
    job = Job(
        store=store,
        kind="load",
        spec={"uri": numbers.name, "options": {}},
        inputs=[],
        settings=Settings(backend="torch"),
        base=numbers.parent,
        folder=numbers.parent,
        fingerprint="another hash",
    )
    with pytest.raises(StageError, match="changed while it was read"):
        execute(job)


def test_rows_of_equal_content_are_found_whatever_their_labels(store: Store, perform: Any, data: Dataset) -> None:
    rows = np.arange(95, 105)
    other = Dataset.create(store, [X, LABEL], {"x": rows.astype("f4"), "label": np.ones(10, "i4")})
    spec = {"columns": ["x"], "names": ["tested", "trained"]}
    with pytest.raises(StageError, match="5 of the 10 rows of the test data 'tested' are also in 'trained'"):
        perform("overlap", spec, other, data)
    apart = Dataset.create(store, [X], {"x": np.arange(200, 210).astype("f4")})
    assert store.read_json(perform("overlap", spec, apart, data).outputs["shared"]) == 0
    renamed = Dataset.create(store, [ColumnSchema("z", "tensor", "float32", ())], {"z": rows.astype("f4")})
    with pytest.raises(StageError, match="5 of the 10 rows"):
        perform("overlap", {**spec, "columns": ["z"], "others": ["x"]}, renamed, data)
