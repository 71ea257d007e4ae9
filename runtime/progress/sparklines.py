"""Curves in a line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int = 32) -> str:
    """The values from left to right, the lowest as the lowest block; what is missing leaves a gap.

    More values than `width` share a block with their neighbours: the mean of them.

    >>> sparkline([1.0, 4.5, None, 8.0]), sparkline([2.0, 2.0]), sparkline([8.0, 8.0, 1.0, 1.0], width=2)
    ('▁▄ █', '▁▁', '█▁')
    """
    pieces = _pieces(values, width)
    known = [value for value in pieces if value is not None]
    if not known:
        return " " * len(pieces)
    low, span = min(known), max(known) - min(known)
    return "".join(" " if value is None else BLOCKS[_level(value - low, span)] for value in pieces)


def _level(above: float, span: float) -> int:
    return min(int(above / span * len(BLOCKS)), len(BLOCKS) - 1) if span > 0 else 0


def _pieces(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most `width` means of neighbours."""
    if len(values) <= width:
        return [_mean([value]) for value in values]
    cuts = [position * len(values) // width for position in range(width + 1)]
    return [_mean(values[start:end]) for start, end in pairwise(cuts)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None
