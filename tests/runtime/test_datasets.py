from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etude.compiler.schema import ColumnSchema
from etude.runtime.columnwriter import ColumnWriter
from etude.runtime.datasets import Dataset, DatasetWriter
from etude.runtime.store import Store

SCHEMAS = (
    ColumnSchema("image", "tensor", "float32", (2, 2, 1)),
    ColumnSchema("label", "label", "int32", (), 3, ("a", "b", "c")),
    ColumnSchema("flag", "tensor", "bool", (2,)),
    ColumnSchema("text", "text", "text"),
    ColumnSchema("nothing", "tensor", "float32", (0,)),
)


def arrays(rows: int = 6) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "image": np.arange(rows * 4, dtype=np.float32).reshape(rows, 2, 2, 1),
        "label": np.arange(rows, dtype=np.int32) % 3,
        "flag": np.arange(rows * 2).reshape(rows, 2) % 3 == 0,
        "text": np.array([f"row {i} é" for i in range(rows)], dtype=object),
        "nothing": np.empty((rows, 0), np.float32),
    }


@pytest.fixture
def dataset(store: Store) -> Dataset:
    return Dataset.create(store, SCHEMAS, arrays())


def same(first: Dataset, second: Dataset) -> bool:
    columns = all(np.array_equal(first.column(name), second.column(name)) for name in first.columns)
    return columns and np.array_equal(first.ids, second.ids) and set(first.columns) == set(second.columns)


def test_a_saved_dataset_is_opened_with_the_same_columns(store: Store, dataset: Dataset) -> None:
    opened = Dataset.open(store, dataset.save())
    assert opened.rows == 6
    assert tuple(opened.schema(schema.name) for schema in SCHEMAS) == SCHEMAS
    for name, values in arrays().items():
        assert opened.column(name).dtype == values.dtype
        assert np.array_equal(opened.column(name), values)


def test_a_column_of_numbers_is_a_view_of_its_file(dataset: Dataset) -> None:
    image = dataset.column("image")
    assert not image.flags.writeable and not image.flags.owndata


def test_equal_content_gives_equal_hashes_and_any_other_content_another(store: Store, dataset: Dataset) -> None:
    assert Dataset.create(store, SCHEMAS, arrays()).save() == dataset.save()
    for name in ("image", "label", "flag", "text"):
        changed = arrays()
        changed[name] = changed[name][::-1]
        other = Dataset.create(store, SCHEMAS, changed)
        assert other.save() != dataset.save() and other.ids.tolist() != dataset.ids.tolist()


def test_texts_that_concatenate_to_the_same_are_different_content(store: Store) -> None:
    schema = [ColumnSchema("t", "text", "text")]
    first, second = ({"t": np.array(texts, dtype=object)} for texts in (["ab", "c"], ["a", "bc"]))
    assert Dataset.create(store, schema, first).ids[0] != Dataset.create(store, schema, second).ids[0]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("spill_bytes", [0, 40, 10_000])
def test_rows_that_come_in_pieces_give_the_same_files(
    store: Store, dataset: Dataset, size: int, spill_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ColumnWriter.__init__, "__defaults__", (spill_bytes,))
    with DatasetWriter(store, SCHEMAS) as writer:
        for start in range(0, 6, size):
            writer.append({name: values[start : start + size] for name, values in arrays().items()})
        assert writer.finish().save() == dataset.save()


def test_rows_that_were_not_finished_leave_nothing_behind(store: Store) -> None:
    before = sorted(store.root.rglob("*"))
    with pytest.raises(KeyError), DatasetWriter(store, SCHEMAS) as writer:
        writer.append(arrays())
        writer.append({"image": arrays()["image"]})
    assert sorted(store.root.rglob("*")) == before


def test_a_reader_gives_the_rows_that_are_asked_for(dataset: Dataset) -> None:
    chosen = dataset.select(np.array([4, 1, 0, 5]))
    for name in dataset.columns:
        for part in (dataset, chosen):
            rows, values = part.reader(name), part.column(name)
            assert len(rows) == len(values) and rows.shape == (len(values), *values.shape[1:])
            assert np.array_equal(rows[np.array([3, 0, 3])], values[[3, 0, 3]])
            assert np.array_equal(rows[1:3], values[1:3])


def test_a_target_is_one_still_when_it_is_opened(store: Store) -> None:
    price = ColumnSchema("price", "tensor", "float32", is_target=True)
    hash = Dataset.create(store, [price], {"price": np.ones(2, np.float32)}).save()
    assert Dataset.open(store, hash).schema("price") == price


def test_identities_are_distinct_and_go_with_their_rows(dataset: Dataset) -> None:
    assert len(set(dataset.ids.tolist())) == 6
    chosen = dataset.select(np.array([4, 1])).select(np.array([1, 0, 1]))
    assert chosen.ids.tolist() == dataset.ids[[1, 4, 1]].tolist()
    assert chosen.column("text").tolist() == ["row 1 é", "row 4 é", "row 1 é"]
    assert chosen.keep(["label"]).ids.tolist() == chosen.ids.tolist()


def test_a_selection_shares_the_files_of_its_columns(store: Store, dataset: Dataset) -> None:
    chosen = dataset.select(np.array([0, 2]))
    columns = {column.object for column in dataset.columns.values()}
    assert {column.object for column in chosen.columns.values()} == columns
    assert len(chosen.objects() - dataset.objects()) == 1, "all that is new is one file of row numbers"


def test_no_rows_are_a_dataset_too(store: Store, dataset: Dataset) -> None:
    empty = Dataset.open(store, dataset.select(np.array([], dtype=np.int64)).save())
    assert empty.rows == 0 and len(empty.ids) == 0
    assert empty.column("image").shape == (0, 2, 2, 1)
    assert empty.followed_by(dataset).rows == 6


def test_new_columns_stand_beside_selected_ones(dataset: Dataset) -> None:
    schema = ColumnSchema("score", "tensor", "float32")
    scored = dataset.select(np.array([5, 3, 1])).with_columns([schema], {"score": np.float32([0.5, 0.3, 0.1])})
    best = scored.select(np.array([0, 2]))
    assert best.column("score").tolist() == pytest.approx([0.5, 0.1])
    assert best.column("text").tolist() == ["row 5 é", "row 1 é"]


def test_the_union_of_parts_of_one_dataset_makes_no_new_columns(dataset: Dataset) -> None:
    first, second = dataset.select(np.array([0, 3])), dataset.select(np.array([5]))
    joined = first.followed_by(second)
    assert same(joined, dataset.select(np.array([0, 3, 5])))
    assert {c.object for c in joined.columns.values()} == {c.object for c in dataset.columns.values()}
    assert same(dataset.followed_by(first), dataset.select(np.array([0, 1, 2, 3, 4, 5, 0, 3])))


def test_the_union_with_other_data_appends_the_values(store: Store, dataset: Dataset) -> None:
    other = Dataset.create(store, SCHEMAS, arrays(2))
    joined = dataset.select(np.array([1])).followed_by(other)
    assert joined.column("text").tolist() == ["row 1 é", "row 0 é", "row 1 é"]
    assert joined.ids.tolist() == [dataset.ids[1], *other.ids]
    assert joined.ids[0] != joined.ids[2], "the same values in another dataset are other rows"
