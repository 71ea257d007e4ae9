from __future__ import annotations

import random

import pytest

from etude.compiler.confidence import expanded_level, fewest_runs, student_cdf, student_quantile
from etude.runtime.bootstrap import compare, mix, quantile, resampled_means


@pytest.mark.parametrize(
    ("probability", "freedom", "table"),
    [(0.95, 1, 6.314), (0.95, 2, 2.920), (0.9, 3, 1.638), (0.95, 4, 2.132), (0.975, 10, 2.228), (0.99, 29, 2.462)],
)
def test_quantiles_of_student_t_are_those_of_the_tables(probability: float, freedom: int, table: float) -> None:
    assert student_quantile(probability, freedom) == pytest.approx(table, abs=6e-4)
    assert student_cdf(student_quantile(probability, freedom), freedom) == pytest.approx(probability)


def test_a_few_runs_are_enumerated_with_all_their_weights() -> None:
    means = sorted(resampled_means([0.0, 1.0, 2.0]))
    assert sum(weight for _, weight in means) == 27
    assert sum(mean * weight for mean, weight in means) / 27 == pytest.approx(1.0)
    assert means[0] == (0.0, 1)


def test_many_runs_are_resampled_the_same_each_time_and_evenly() -> None:
    values = [float(i) for i in range(20)]
    first = [mean for mean, _ in resampled_means(values)]
    assert first == [mean for mean, _ in resampled_means(values)]
    assert sum(first) / len(first) == pytest.approx(9.5, abs=0.06)
    variance = sum((mean - 9.5) ** 2 for mean in first) / len(first)
    assert variance == pytest.approx(33.25 / 20, rel=0.06)


def test_the_hash_of_draws_is_the_one_of_the_language() -> None:
    from etude.backends.numpy.random import mix as reference

    assert [mix(x) for x in (1, 2, 12345, 2**32 - 1)] == [int(reference(x)) for x in (1, 2, 12345, 2**32 - 1)]


def test_a_quantile_is_the_smallest_value_with_enough_below() -> None:
    weighted = [(0.0, 1), (1.0, 2), (2.0, 1)]
    assert [quantile(weighted, mass) for mass in (0.5, 1, 1.5, 3, 3.5, 9)] == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]


def test_clearly_better_runs_hold_and_clearly_worse_ones_fail() -> None:
    low, high = [0.80, 0.82, 0.81, 0.79, 0.80], [0.85, 0.86, 0.84, 0.85, 0.87]
    assert compare(high, low).verdict is True
    assert compare(low, high).verdict is False
    assert compare(low, high, lower=True).verdict is True


def test_the_same_runs_are_not_better() -> None:
    result = compare([0.8] * 5, [0.8] * 5)
    assert result.verdict is False and (result.low, result.high) == (0.0, 0.0)


def test_runs_that_differ_too_much_cannot_tell() -> None:
    result = compare([0.9, 0.7, 0.85, 0.75, 0.9], [0.8, 0.8, 0.8, 0.8, 0.8])
    assert result.verdict is None and result.reason == "the runs differ too much to decide"
    assert result.low is not None and result.high is not None and result.mean_difference is not None
    assert result.low < 0 < result.mean_difference < result.high
    assert result.wins == 3


@pytest.mark.parametrize(("confidence", "enough"), [(0.9, 4), (0.95, 5), (0.99, 6)])
def test_too_few_runs_cannot_show_so_much(confidence: float, enough: int) -> None:
    for runs in range(1, enough):
        result = compare([1.0] * runs, [0.0] * runs, confidence)
        assert result.verdict is None
        assert "too few" in result.reason
    assert compare([1.0] * enough, [0.0] * enough, confidence).verdict is True


def test_pairing_removes_what_the_pairs_share() -> None:
    hard, easy = [0.5, 0.9, 0.6, 0.8, 0.7], [0.51, 0.912, 0.611, 0.813, 0.71]
    assert compare(easy, hard).verdict is True
    assert compare(easy, sorted(hard)).verdict is None


def test_a_missing_run_cannot_tell() -> None:
    result = compare([1.0, None, 1.0, 1.0, 1.0], [0.0] * 5)
    assert result.verdict is None and result.reason == "1 of 5 pairs have no value"


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        compare([1.0, 2.0], [1.0])


def test_a_claim_without_substance_holds_about_as_rarely_as_the_confidence_says() -> None:
    """Of 400 comparisons of equals at 90 %, about 40 hold, give or take 6."""
    draw = random.Random(7)
    held = 0
    for _ in range(400):
        first, second = ([draw.gauss(0, 1) for _ in range(5)] for _ in range(2))
        held += compare(first, second, 0.9).verdict is True
    assert 22 <= held <= 58


def test_a_level_is_only_given_where_resampling_can_reach_it() -> None:
    assert expanded_level(1, 0.95) is None
    level = expanded_level(1000, 0.95)
    assert level == pytest.approx(0.05, abs=0.001)


def test_quantiles_and_levels_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for runs in (2, 3, 5, 10, 31, 100):
        for confidence in (0.5, 0.8, 0.95, 0.999):
            assert student_quantile(confidence, runs - 1) == pytest.approx(stats.t.ppf(confidence, runs - 1), abs=1e-9)
            level = stats.norm.cdf(-((runs / (runs - 1)) ** 0.5) * stats.t.ppf(confidence, runs - 1))
            found = expanded_level(runs, confidence)
            assert found == pytest.approx(level) if level >= runs**-runs else found is None


def test_it_is_known_before_how_many_runs_can_show_something() -> None:
    assert [fewest_runs(share) for share in (0.5, 0.85, 0.9, 0.95, 0.99)] == [2, 3, 4, 5, 6]
    assert compare([1.0], [0.0]).reason == "1 run is too few for 95% confidence: 5 can show it"
