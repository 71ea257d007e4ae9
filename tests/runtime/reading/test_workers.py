from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from etude.runtime.reading.workers import AHEAD, ordered_map


def test_each_item_is_worked_on_once_and_results_keep_the_order() -> None:
    seen: Counter[int] = Counter()
    lock = threading.Lock()

    def work(item: int) -> int:
        time.sleep(0.002 * (item % 3 == 0))  # early items end late
        with lock:
            seen[item] += 1
        return item * item

    assert list(ordered_map(work, range(500), workers=4)) == [item * item for item in range(500)]
    assert set(seen) == set(range(500)) and set(seen.values()) == {1}


def test_an_error_comes_at_its_item_and_ends_the_work() -> None:
    def work(item: int) -> int:
        if item == 30:
            raise OSError("item 30 is broken")
        return item

    found = []
    with pytest.raises(OSError, match="item 30"):
        for result in ordered_map(work, range(10_000), workers=2):
            found.append(result)
    assert found == list(range(30))


def test_only_a_few_items_are_taken_before_their_results_are_asked_for() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(10_000):
            taken += 1
            yield item

    results = ordered_map(lambda item: item, items(), workers=2)
    assert next(results) == 0 and taken <= 2 * AHEAD
    results.close()  # type: ignore[attr-defined]
