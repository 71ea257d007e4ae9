"""The rates of this machine: measured once, kept, and usual ones where that cannot be."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from etude.runtime.calibration import DAYS_KEPT, Rates, machine_rates, measure_rates, rates_path
from etude.runtime.estimates import Estimate, at_rates

SLOW = Rates(flops_per_second=100.0, bytes_per_second=10.0, seconds_per_operation=0.5)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_rates_are_measured() -> None:
    assert all(rate > 0 for rate in asdict(measure_rates()).values())


def test_rates_are_measured_once_and_kept() -> None:
    first = machine_rates()
    assert rates_path().exists()
    assert machine_rates() == first


def test_a_damaged_or_an_old_file_is_measured_again() -> None:
    first = machine_rates()
    rates_path().write_text('{"flops_per_second": -1}')
    assert machine_rates().flops_per_second > 0
    rates_path().write_text('{"flops_per_second": 1.0, "bytes_per_second": 1.0, "seconds_per_operation": 1.0}')
    assert machine_rates() != first
    old = time.time() - (DAYS_KEPT + 1) * 24 * 3600
    os.utime(rates_path(), (old, old))
    assert machine_rates().flops_per_second > 1.0


def test_a_folder_that_cannot_be_written_is_done_without(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    assert machine_rates().flops_per_second > 0


def test_times_are_those_of_the_slower_of_computing_and_moving() -> None:
    estimates = {"a": Estimate(flops=200, bytes=10, operations=2), "b": Estimate(flops=0, bytes=50)}
    assert {id: each.seconds for id, each in at_rates(estimates, SLOW).items()} == {"a": 3.0, "b": 5.0}
