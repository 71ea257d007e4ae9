from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etude.runtime.datasets import row_identities
from etude.runtime.sampling import apportion, choose, divide, divide_groups, exact, hashed_order

SIXTY_TWENTY_TWENTY = [exact(share) for share in (0.6, 0.2, 0.2)]
shares = st.lists(st.integers(1, 20), min_size=1, max_size=5).map(lambda ws: [Fraction(w, sum(ws)) for w in ws])


@given(st.lists(st.integers(0, 200), max_size=12), shares)
def test_every_count_is_rounded_up_or_down_and_nothing_is_lost(counts: list[int], shares: list[Fraction]) -> None:
    table = apportion(counts, shares)
    for count, row in zip(counts, table, strict=True):
        assert sum(row) == count
        assert all(abs(part - count * share) < 1 for part, share in zip(row, shares, strict=True))


@given(st.lists(st.integers(0, 200), max_size=12), st.integers(0, 100))
def test_of_two_shares_the_totals_are_right_to_half_a_row(counts: list[int], percent: int) -> None:
    share = Fraction(percent, 100)
    total = sum(row[0] for row in apportion(counts, [share, 1 - share]))
    assert abs(total - sum(counts) * share) <= Fraction(1, 2)


@given(st.integers(0, 300), st.integers(0, 2**32), st.integers(1, 7))
def test_parts_are_disjoint_and_cover_all_rows(rows: int, seed: int, classes: int) -> None:
    ids = row_identities("ab" * 32, rows)
    for labels in (None, np.arange(rows) % classes):
        parts = divide(ids, SIXTY_TWENTY_TWENTY, seed, labels)
        assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
        assert all(a < b for part in parts for a, b in pairwise(part.tolist()))


def test_each_class_has_its_share_of_a_stratified_split() -> None:
    labels = np.repeat(np.arange(10), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    parts = divide(row_identities("ab" * 32, len(labels)), SIXTY_TWENTY_TWENTY, 0, labels)
    for part, share in zip(parts, SIXTY_TWENTY_TWENTY, strict=True):
        assert abs(len(part) - len(labels) * share) <= 1
        for value in range(10):
            expected = np.sum(labels == value) * share
            assert abs(np.sum(labels[part] == value) - expected) < 1


def test_the_order_depends_on_seed_and_identity_only() -> None:
    ids = row_identities("ab" * 32, 1000)
    order = hashed_order(ids, 3)
    assert ids[order].tolist() == ids[::-1][hashed_order(ids[::-1], 3)].tolist()
    assert order.tolist() != hashed_order(ids, 4).tolist()
    assert hashed_order(ids, -1).tolist() != hashed_order(ids, 1).tolist()


def test_the_order_is_the_one_it_has_always_been() -> None:
    """A change here changes every split of every recipe: raise the semantics of `split` and `sample`."""
    assert hashed_order(row_identities("ab" * 32, 8), 0).tolist() == GOLDEN


GOLDEN = [1, 5, 7, 2, 4, 6, 3, 0]


def test_positions_are_uniform_over_the_order() -> None:
    """The mean position of the first half of the rows deviates from the middle by less than four standard errors."""
    rows = 4000
    positions = np.argsort(hashed_order(row_identities("cd" * 32, rows), 1))
    error = rows / np.sqrt(12) / np.sqrt(rows / 2)
    assert abs(positions[: rows // 2].mean() - rows / 2) < 4 * error


@pytest.mark.parametrize("labels", [None, np.arange(1078) % 10])
def test_a_choice_has_exactly_the_number_of_rows_asked_for(labels: np.ndarray | None) -> None:
    ids = row_identities("ab" * 32, 1078)
    for count in (0, 1, 108, 500, 1077, 1078):
        assert len(choose(ids, count, 0, labels)) == count


def test_a_smaller_choice_is_part_of_a_larger_one() -> None:
    ids = row_identities("ab" * 32, 100)
    assert set(choose(ids, 10, 5).tolist()) < set(choose(ids, 30, 5).tolist())
    assert set(choose(ids, 10, 5).tolist()) != set(choose(ids, 10, 6).tolist())


def test_nothing_can_be_chosen_from_nothing() -> None:
    assert choose(row_identities("ab" * 32, 0), 0, 0).tolist() == []


@given(st.lists(st.integers(0, 9), max_size=200), st.integers(0, 1000))
def test_groups_stay_whole_and_cover_all_rows(groups: list[int], seed: int) -> None:
    values = np.array(groups, dtype=np.int32)
    parts = divide_groups(values, SIXTY_TWENTY_TWENTY, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups)))
    owners = [set(values[part].tolist()) for part in parts]
    assert sum(map(len, owners)) == len(set(groups))


def test_many_groups_come_near_to_the_shares() -> None:
    values = np.array([f"patient {i // 5}" for i in range(5000)], dtype=object)
    sizes = [len(part) for part in divide_groups(values, SIXTY_TWENTY_TWENTY, 0)]
    assert sizes == pytest.approx([3000, 1000, 1000], abs=5)


def test_a_share_is_the_number_that_was_written() -> None:
    assert exact(0.1) == Fraction(1, 10)
    assert sum(SIXTY_TWENTY_TWENTY) == 1
