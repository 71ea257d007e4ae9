"""The order of rows by weights and by difficulty."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from etude.backends.batches import Stream, mix64
from etude.backends.ordering import RoundStream, WeightsError, growing_pool, shares, stream_of

IDS = mix64(np.arange(50, dtype=np.uint64))


def test_equal_weights_and_a_full_pool_are_the_plain_stream() -> None:
    plain, weighted = Stream(IDS, 8, 3), RoundStream(IDS, 8, 3, weights=np.ones(50))
    ordered = RoundStream(IDS, 8, 3, difficulty=np.arange(50.0))

    for step in range(20):
        assert plain.indices(step).tolist() == weighted.indices(step).tolist() == ordered.indices(step).tolist()


def test_steps_may_be_asked_for_in_any_order_and_several_at_once() -> None:
    def stream() -> RoundStream:
        pool = growing_pool({"start": 0.2, "until": 0.5, "power": 1.0}, 50, 8, 0, 40)
        return RoundStream(IDS, 8, 3, weights=1.0 + np.arange(50) % 3, difficulty=np.arange(50.0), pool=pool)

    forward = [stream().indices(step).tolist() for step in range(40)]
    again = stream()
    assert [again.indices(step).tolist() for step in reversed(range(40))] == forward[::-1]
    assert again.indices(5, 4).tolist() == [row for step in forward[5:9] for row in step]


def test_rows_come_as_often_as_their_weights_say() -> None:
    weights = np.where(np.arange(50) < 10, 4.0, 1.0)
    weights[49] = 0.0
    stream = RoundStream(IDS, 50, 3, weights=weights)
    found = Counter(stream.indices(0, 400).tolist())

    assert found[49] == 0
    expected = weights / weights.sum() * 50 * 400
    assert np.abs([found[row] - expected[row] for row in range(50)]).max() < 40
    once = Counter(stream.indices(0).tolist())
    assert all(once[row] in {2, 3} for row in range(10))


def test_draws_of_shares_keep_the_sum_and_the_mean() -> None:
    weights = np.array([0.3, 2.7, 1.0, 0.0, 1.0])
    counts = np.array([shares(weights, draw) for draw in np.linspace(0, 1, 1000, endpoint=False)])

    assert (counts.sum(axis=1) == 5).all()
    np.testing.assert_allclose(counts.mean(axis=0), weights, atol=2e-3)


def test_easy_rows_come_first_and_the_others_by_and_by() -> None:
    order = {"column": "hard", "start": 0.2, "until": 0.5, "power": 1.0}
    spec = {"batch": 5, "seed": 1, "order": {"": order}}
    stream = stream_of(spec, IDS, {"hard": np.arange(50)[::-1]}, 0, 100)

    assert min(stream.indices(0, 2)) >= 40
    assert min(stream.indices(0, 10)) >= 50 - 20
    assert set(stream.indices(80, 20).tolist()) == set(range(50))


def test_a_pool_grows_as_told_and_is_never_less_than_a_batch() -> None:
    linear = growing_pool({"start": 0.1, "until": 0.5, "power": 1.0}, 100, 16, 0, 100)
    root = growing_pool({"start": 0.1, "until": 1.0, "power": 2.0}, 100, 1, 0, 100)

    assert [linear(step) for step in (0, 25, 50, 99)] == [16, 55, 100, 100]
    assert [root(step) for step in (0, 50)] == [10, 72]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -1.0], "the weight of row 1 is -1"),
        ([1.0, np.nan], "the weight of row 1 is nan"),
        ([0.0, 0.0], "the weights of all rows are 0"),
    ],
)
def test_what_is_no_weight_is_refused(weights: list[float], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        RoundStream(IDS[:2], 2, 0, weights=np.array(weights))


def test_a_pool_without_a_weight_is_refused_when_it_comes() -> None:
    weights = np.where(np.arange(50) < 25, 0.0, 1.0)
    stream = RoundStream(IDS, 5, 0, weights=weights, difficulty=np.arange(50.0), pool=lambda step: 10)
    with pytest.raises(WeightsError, match="the weights of the 10 easiest rows are all 0"):
        stream.indices(0)
