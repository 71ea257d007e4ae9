"""Runs that are killed: the script that does it, a few kills here and all of them where there is time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_injection.py"


def kills(*arguments: str) -> tuple[int, int, int]:
    """Run the script; how many operations it counted, how many kills it did, and after how many all was equal."""
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"^(\d+) operations.*^(\d+) kills, (\d+) equal", done.stdout, re.MULTILINE | re.DOTALL)
    assert found, done.stdout
    return int(found[1]), int(found[2]), int(found[3])


def test_after_ten_kills_the_results_are_those_of_a_run_without() -> None:
    counted, killed, equal = kills("--sample", "7", "--random", "3", "--seed", "1")
    assert counted > 200
    assert killed == equal >= 4  # the last operations of a run are not always reached


@pytest.mark.full
def test_after_a_kill_at_every_operation_and_200_at_random_times_the_results_are_the_same() -> None:
    counted, killed, equal = kills("--every", "--random", "200")
    assert killed == equal > counted + 100


@pytest.mark.full
def test_after_kills_of_a_training_the_results_are_the_same() -> None:
    _, killed, equal = kills("--training", "--sample", "60", "--random", "20")
    assert killed == equal > 60
