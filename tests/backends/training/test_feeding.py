"""Batches that are read ahead are those of data that lies on the device, and training gives the same numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Array, Backend, Rows, TrainResult
from etude.backends.batches import JoinedStreams, Stream, mix64
from etude.backends.feeding import VARIABLE, Ahead, ReadAhead, Table, ahead, host_limit, numpy_buffers, pieces

Spec = dict[str, Any]
Run = Callable[..., TrainResult]


def ids(rows: int, salt: int = 0) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return mix64(np.arange(rows, dtype=np.uint64) + np.uint64(salt))


class Counted:
    """A column in memory that behaves as one in a file, and counts what is read of it."""

    def __init__(self, values: Array) -> None:
        self.values, self.shape, self.reads = values, values.shape, np.zeros(len(values), int)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, positions: Any) -> Array:
        np.add.at(self.reads, positions, 1)
        found: Array = self.values[positions]
        return found

    def __array__(self) -> Array:
        return self.values


def table(column: Counted) -> Table:
    return Table({"x": column}, {"x": "float32"})


def test_each_row_is_read_exactly_once_an_epoch_and_in_the_streams_order() -> None:
    column, stream = Counted(np.arange(1000, dtype=np.float32)), Stream(ids(1000), 10, seed=3)
    reader = ReadAhead(stream, table(column), 100, numpy_buffers)

    seen = [reader.indices(step).columns["x"] for step in range(100)]
    reader.close()

    assert column.reads.tolist() == [1] * 1000
    for step, rows in enumerate(seen):
        np.testing.assert_array_equal(rows, column.values[stream.indices(step)])


def test_several_steps_at_once_and_steps_out_of_turn_are_those_of_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etude.backends.feeding.PIECE_BYTES", 3 * 10 * 4)  # pieces of three steps
    column, stream = Counted(np.arange(105, dtype=np.float32)), Stream(ids(105), 10, seed=0)
    reader = ReadAhead(stream, table(column), 40, numpy_buffers)

    for step, count in ((0, 1), (1, 7), (8, 2), (3, 4), (3, 1), (30, 10)):
        batch = reader.indices(step, count)
        np.testing.assert_array_equal(batch.columns["x"], column.values[stream.indices(step, count)])
        assert batch.rows == 10 * count
    reader.close()


def test_streams_of_several_data_sets_are_read_each_in_its_own_order() -> None:
    columns = {"a.x": Counted(np.arange(40, dtype=np.float32)), "b.x": Counted(np.arange(15, dtype=np.float32))}
    streams = JoinedStreams({"a": ids(40), "b": ids(15, salt=9)}, 8, seed=1)
    reader = ReadAhead(streams, Table(columns, dict.fromkeys(columns, "float32")), 12, numpy_buffers)

    for step in range(12):
        batch, expected = reader.indices(step), streams.indices(step)
        assert batch.rows == {"a": 8, "b": 8}
        for name, positions in expected.items():
            np.testing.assert_array_equal(batch.columns[f"{name}.x"], columns[f"{name}.x"].values[positions])
    reader.close()


def test_an_error_of_the_reader_reaches_whoever_asks_after_what_came_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    found = Ahead(items())

    assert next(found) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)
    assert list(found) == []


def test_no_more_than_a_few_items_are_made_ahead_and_none_after_closing() -> None:
    made, enough = [], threading.Event()

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            if i == 1:
                enough.set()
            yield i

    found = ahead(items())
    assert next(found) == 0
    assert enough.wait(60)
    found.close()  # type: ignore[attr-defined]

    count = len(made)
    assert count <= 4
    time.sleep(0.01)
    assert len(made) == count
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())


def test_an_interrupted_run_leaves_no_thread(run: Run, backend: Backend, train_spec: Callable[..., Spec]) -> None:
    def interrupt() -> bool:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "0")
        patch.setattr("etude.backends.training.Loop._look", lambda *_, **__: interrupt())
        with pytest.raises(KeyboardInterrupt):
            run(backend, train_spec())
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3, "batch": 48}])
def test_training_from_files_gives_the_same_numbers(
    run: Run, backend: Backend, train_spec: Callable[..., Spec], monkeypatch: pytest.MonkeyPatch, settings: Spec
) -> None:
    inside = run(backend, train_spec(**settings))
    monkeypatch.setenv(VARIABLE, "100")
    outside = run(backend, train_spec(**settings))

    assert inside.history == outside.history
    for first, second in zip(inside.weights, outside.weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_row_program_gives_the_same_in_pieces(
    backend: Backend, rows_spec: Spec, data: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {name: np.tile(np.asarray(column), (6, *[1] * (column.ndim - 1))) for name, column in data[0].items()}  # type: ignore[attr-defined]
    whole = backend.rows(rows_spec, rows, ids(1200), {})
    monkeypatch.setattr("etude.backends.feeding.PIECE_BYTES", 20_000)

    parts = list(backend.pieces(rows_spec, rows, ids(1200), {}))

    assert [len(part["accuracy"]) for part in parts] == [512, 512, 176]
    np.testing.assert_array_equal(np.concatenate([part["accuracy"] for part in parts]), whole["accuracy"])


def test_pieces_are_of_whole_batches_and_cover_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etude.backends.feeding.PIECE_BYTES", 100)
    column = Counted(np.arange(70, dtype=np.float32))

    found = list(pieces(table(column), 70, 8, row_bytes=4))

    assert [part for part, _ in found] == [slice(0, 24), slice(24, 48), slice(48, 70)]
    np.testing.assert_array_equal(np.concatenate([rows["x"] for _, rows in found]), column.values)


def test_the_share_of_memory_for_data_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "4096")
    assert host_limit() == 4096
    monkeypatch.delenv(VARIABLE)
    assert 0 < host_limit() <= 512 << 20
