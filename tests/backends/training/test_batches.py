from __future__ import annotations

import numpy as np
import pytest

from etude.backends.batches import NoRowsError, Stream, chunks, epoch_order, mix64, row_keys, steps_in

IDS = mix64(np.arange(100, dtype=np.uint64))


def test_every_epoch_of_a_stream_with_straddling_batches_has_each_row_exactly_once() -> None:
    stream = Stream(IDS, batch=32, seed=3)

    taken = np.concatenate([stream.indices(step) for step in range(25)])

    assert all(len(stream.indices(step)) == 32 for step in range(25))
    for epoch in range(8):
        np.testing.assert_array_equal(np.sort(taken[epoch * 100 : (epoch + 1) * 100]), np.arange(100))


def test_a_stream_answers_for_any_step_in_any_order() -> None:
    forwards, backwards = Stream(IDS, batch=32, seed=3), Stream(IDS, batch=32, seed=3)

    there = [forwards.indices(step) for step in range(20)]
    back = [backwards.indices(step) for step in reversed(range(20))]

    np.testing.assert_array_equal(there, back[::-1])


def test_the_order_depends_on_seed_and_epoch_and_identity_not_on_position() -> None:
    order = epoch_order(IDS, 0, 0)

    assert not np.array_equal(order, epoch_order(IDS, 1, 0))
    assert not np.array_equal(order, epoch_order(IDS, 0, 1))
    shuffled = np.random.default_rng(0).permutation(100)
    np.testing.assert_array_equal(IDS[order], IDS[shuffled][epoch_order(IDS[shuffled], 0, 0)])


def test_the_order_of_an_epoch_is_what_it_always_was() -> None:
    assert epoch_order(np.arange(10, dtype=np.uint64), 3, 0).tolist() == [2, 9, 0, 4, 3, 5, 6, 1, 8, 7]
    assert epoch_order(np.arange(10, dtype=np.uint64), 3, 1).tolist() == [0, 2, 8, 9, 6, 4, 1, 5, 7, 3]


def test_the_keys_of_rows_are_what_they_always_were() -> None:
    assert row_keys(np.array([0, 1, 2**63], dtype=np.uint64)).tolist() == [0, 0x100B05E5, 2043586954]


def test_rows_with_the_same_identity_keep_their_order_and_are_all_taken() -> None:
    ids = np.zeros(7, dtype=np.uint64)

    assert epoch_order(ids, 0, 5).tolist() == list(range(7))


def test_a_batch_is_never_larger_than_the_dataset() -> None:
    stream = Stream(IDS[:10], batch=64, seed=0)

    assert stream.batch == 10
    assert sorted(stream.indices(4)) == list(range(10))


def test_no_rows_are_refused() -> None:
    with pytest.raises(NoRowsError, match="no rows to train on"):
        Stream(IDS[:0], batch=64, seed=0)


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        ({"epochs": 3}, 5),  # 300 rows in batches of 64
        ({"epochs": 0.5}, 1),
        ({"epochs": 0.1}, 1),
        ({"steps": 17}, 17),
        ({"examples": 129}, 3),
        ({"epochs": 20, "min_steps": 200}, 200),
        ({"epochs": 200, "min_steps": 200}, 313),
    ],
)
def test_a_budget_is_rounded_up_to_whole_steps(budget: dict[str, float], steps: int) -> None:
    assert steps_in(budget, rows=100, batch=64) == steps


def test_a_budget_of_epochs_counts_the_true_batch() -> None:
    assert steps_in({"epochs": 3}, rows=10, batch=64) == 3


def test_an_unknown_unit_of_a_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="fortnights"):
        steps_in({"fortnights": 1}, rows=10, batch=64)


def test_chunks_cover_all_rows_once() -> None:
    assert [np.arange(7)[part].tolist() for part in chunks(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
