"""Curves in a line of text."""

from __future__ import annotations

import math

from etude.runtime.progress.sparklines import BLOCKS, sparkline


def test_every_level_has_its_block() -> None:
    assert sparkline(list(range(8))) == BLOCKS


def test_long_histories_are_cut_into_pieces_of_almost_equal_length() -> None:
    assert sparkline([0.0] * 50 + [1.0] * 50, width=4) == "▁▁██"
    assert len(sparkline(list(range(101)), width=32)) == 32


def test_what_is_missing_or_not_finite_leaves_a_gap() -> None:
    assert sparkline([1.0, None, math.nan, math.inf, 2.0]) == "▁   █"
    assert sparkline([None, None]) == "  "
    assert sparkline([]) == ""
