from __future__ import annotations

from typing import Any

import pytest

from etude.backends.schedules import schedule


def factors(spec: dict[str, Any], steps: int) -> list[float]:
    rate = schedule(spec, steps, rows=100, batch=10)
    return [rate(step) for step in range(steps)]


def test_a_constant_schedule_is_one() -> None:
    assert factors({"name": "constant"}, 3) == [1.0, 1.0, 1.0]


def test_cosine_falls_from_one_through_a_half_towards_its_end() -> None:
    rates = factors({"name": "cosine"}, 100)

    assert rates[0] == 1.0
    assert rates[50] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.000247, abs=1e-6)
    assert rates == sorted(rates, reverse=True)


def test_cosine_ends_at_its_final_factor() -> None:
    assert factors({"name": "cosine", "final": 0.1}, 1000)[-1] == pytest.approx(0.1, abs=1e-5)


def test_linear_decay_is_a_line() -> None:
    assert factors({"name": "linear_decay"}, 4) == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("warmup", [0.4, {"steps": 4}, {"epochs": 0.4}, {"examples": 40}])
def test_a_warmup_is_a_share_of_the_steps_or_a_duration(warmup: Any) -> None:
    rates = factors({"name": "linear_decay", "warmup": warmup}, 10)

    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[5:] == pytest.approx([5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])


def test_a_warmup_may_take_all_steps() -> None:
    assert factors({"name": "cosine", "warmup": {"steps": 50}}, 4) == [0.25, 0.5, 0.75, 1.0]


def test_exponential_decay_falls_in_equal_ratios() -> None:
    rates = factors({"name": "exponential", "rate": 0.01}, 4)

    assert rates == pytest.approx([1.0, 0.1**0.5, 0.1, 0.1**1.5])


def test_step_decay_falls_at_shares_of_the_steps() -> None:
    rates = factors({"name": "step_decay", "rate": 0.5, "at": [0.5, 0.75]}, 4)

    assert rates == [1.0, 1.0, 0.5, 0.25]


def test_one_cycle_rises_to_its_peak_and_falls() -> None:
    rates = factors({"name": "one_cycle", "start": 0.1, "peak": 0.25}, 8)

    assert rates[0] == 0.1
    assert rates[2] == 1.0
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 0.1
