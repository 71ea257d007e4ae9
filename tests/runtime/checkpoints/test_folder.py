"""Files of checkpoints: read as they were written or not at all, and never more than two."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.snapshots import Snapshot
from etude.runtime.checkpoints import kept_steps, partial_folder, remove_partial
from etude.runtime.checkpoints.folder import CheckpointFolder, DamagedCheckpointError, OtherMakerError
from etude.runtime.checkpoints.keeper import SHARE, Pace, StepKeeper
from etude.runtime.store import Record, Store

MAKER = {"etude": "1", "versions": {"torch": "2"}}
KEY = "ab" * 32


def snapshot(step: int) -> Snapshot:
    """State, the weights of an earlier step, and facts whose numbers must come back as they were."""
    state = {"weights.0": np.full((2, 3), step, np.float32), "optimizer.0": np.array(step, np.int32)}
    facts = {"history": [{"step": 1, "loss": 0.1 + 0.2}], "selection": {"best_value": repr(float("-inf"))}}
    return Snapshot(step, state, {2: {"weights.0": np.arange(3.0)}}, facts)


@pytest.fixture
def folder(store: Store) -> CheckpointFolder:
    return opened(store)


def opened(store: Store, maker: Any = MAKER) -> CheckpointFolder:
    return CheckpointFolder(partial_folder(store, KEY), store.scratch, maker)


def test_a_checkpoint_comes_back_as_it_was(store: Store, folder: CheckpointFolder) -> None:
    folder.write(snapshot(7))

    found = opened(store).read(7)

    assert (found.step, found.facts) == (7, snapshot(7).facts)
    for name, array in snapshot(7).state.items():
        np.testing.assert_array_equal(found.state[name], array)
        assert (found.state[name].dtype, found.state[name].shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found.kept[2]["weights.0"], np.arange(3.0))
    assert not list(store.scratch.iterdir())


def test_the_last_two_are_kept_and_weights_of_earlier_steps_written_once(
    store: Store, folder: CheckpointFolder
) -> None:
    for step in (5, 10, 15):
        folder.write(snapshot(step))
    other = opened(store)
    other.read(15)
    other.write(snapshot(20))

    assert kept_steps(store, KEY) == [20, 15]
    assert len(list(folder.folder.glob("*.safetensors"))) == 3
    remove_partial(store, KEY)
    assert kept_steps(store, KEY) == [] and not folder.folder.exists()


@pytest.mark.parametrize("pattern", ["10.json", "*.safetensors"])
@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    store: Store, folder: CheckpointFolder, pattern: str, damage: str
) -> None:
    for step in (5, 10):
        folder.write(snapshot(step))
    body = folder._manifest(10)
    path = folder.folder / ("10.json" if pattern == "10.json" else f"{body['parts']['state']}.safetensors")
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
    told: list[Any] = []
    keeper = StepKeeper(lambda: opened(store), Pace(steps=1), told.append)

    found = keeper.latest()

    assert found is not None and found.step == 5
    notices = [event["message"] for event in told]
    assert notices == (
        [] if path.name == "10.json" and damage == "gone" else ["the checkpoint of step 10 is damaged and not used"]
    )
    keeper.keep(lambda: snapshot(6), wait=True)
    assert kept_steps(store, KEY) == [6, 5], "what was damaged makes room"


def test_a_checkpoint_of_another_maker_is_not_used(store: Store, folder: CheckpointFolder) -> None:
    folder.write(snapshot(5))

    with pytest.raises(OtherMakerError, match="another versions"):
        opened(store, {**MAKER, "versions": {"torch": "3"}}).read(5)
    with pytest.raises(DamagedCheckpointError):
        opened(store).read(6)


def test_a_store_that_cannot_be_written_does_not_end_the_training(store: Store) -> None:
    told: list[Any] = []
    keeper = StepKeeper(
        lambda: CheckpointFolder(store.root / "format" / "no", store.scratch, MAKER), Pace(), told.append
    )
    assert keeper.latest() is None

    keeper.keep(lambda: snapshot(1), wait=True)
    keeper.keep(lambda: snapshot(2), wait=True)

    (notice,) = [event["message"] for event in told if event["kind"] == "warning"]
    assert notice.startswith("no checkpoint could be written, the training goes on: ")


def test_the_next_one_waits_until_its_cost_is_a_small_share(store: Store) -> None:
    keeper = StepKeeper(lambda: opened(store), Pace(seconds=0.0), lambda event: None)
    keeper.latest()
    assert keeper.is_due(1)
    begun = keeper._begun
    assert begun is not None

    keeper.keep(lambda: snapshot(1), wait=True)
    first = keeper.cost
    assert first > 0
    assert keeper._next == pytest.approx(begun + 2 * first / SHARE)
    keeper.keep(lambda: snapshot(2), wait=True)
    assert keeper._next == pytest.approx(begun + (2 * keeper.cost - first) / SHARE)
    assert not StepKeeper(lambda: opened(store), Pace(seconds=1e6), lambda event: None).is_due(1)


def test_the_first_one_is_put_off_where_it_is_too_large_for_so_short_a_training(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etude.runtime.checkpoints.keeper.SPEED", 1e-3)
    keeper = StepKeeper(lambda: opened(store), Pace(seconds=0.0), lambda event: None)
    keeper.latest()
    assert keeper.is_due(1) and keeper._begun is not None

    assert not keeper.keep(lambda: snapshot(1))
    assert kept_steps(store, KEY) == []
    assert keeper._next >= keeper._begun + snapshot(1).bytes / 1e-3 / SHARE
    keeper._begun -= 1e9  # a long training
    keeper._expected = 0.0
    assert keeper.keep(lambda: snapshot(2))
    keeper.close()
    assert kept_steps(store, KEY) == [2]
    assert keeper.keep(lambda: snapshot(3), wait=True), "one that is asked for to stop is written in any case"


def test_what_was_left_beside_a_record_is_swept(store: Store, folder: CheckpointFolder) -> None:
    folder.write(snapshot(5))
    store.sweep()
    assert kept_steps(store, KEY) == [5]

    store.records.write(Record(key=KEY, kind="train", outputs={}, objects={}, seconds=1.0, created=1.0))
    store.sweep()

    assert kept_steps(store, KEY) == []


class CutError(BaseException):
    """What ends a write in the place of a signal."""


def test_a_write_that_is_cut_off_anywhere_leaves_a_whole_checkpoint(store: Store, monkeypatch: Any) -> None:
    operations: list[str] = []
    cut = 0

    def count(operation: str, path: Path) -> None:
        operations.append(operation)
        if len(operations) == cut:
            raise CutError

    monkeypatch.setattr("etude.runtime.store.injection.before", count)
    found = []
    while not cut or len(operations) == cut:
        cut = 0
        remove_partial(store, KEY)
        opened(store).write(snapshot(5))
        operations.clear()
        cut = len(found) + 1
        folder = opened(store)
        folder.read(5)
        with contextlib.suppress(CutError):
            folder.write(snapshot(10))
        latest = StepKeeper(lambda: opened(store), Pace(), lambda event: None).latest()
        assert latest is not None
        found.append(latest.step)

    assert found == sorted(found) and set(found) == {5, 10}
    assert len(found) == 10, "two files of four operations each, and the folder"


def test_a_full_disk_ends_a_checkpoint_and_not_the_training(
    store: Store, folder: CheckpointFolder, monkeypatch: Any
) -> None:
    folder.write(snapshot(5))

    def refuse(operation: str, path: Path) -> None:
        if operation == "write":
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("etude.runtime.store.injection.before", refuse)
    keeper = StepKeeper(lambda: folder, Pace(), lambda event: None)
    keeper.latest()
    keeper.keep(lambda: snapshot(6), wait=True)

    assert opened(store).steps() == [5]
    assert opened(store).read(5).step == 5
    assert not list(store.scratch.iterdir())
