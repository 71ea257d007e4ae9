"""Durations and speeds in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Any


def duration_text(seconds: float) -> str:
    """A duration in the two largest units that matter.

    >>> duration_text(0.012), duration_text(4.21), duration_text(75), duration_text(7300)
    ('12 ms', '4.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def rate_text(rows_per_second: float) -> str:
    """How many rows a second, in three digits.

    >>> rate_text(3.14), rate_text(876.4), rate_text(12_345), rate_text(2_500_000)
    ('3.1 rows/s', '876 rows/s', '12.3k rows/s', '2.5M rows/s')
    """
    for least, size, letter in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if rows_per_second >= least:
            return f"{rows_per_second / size:.1f}{letter} rows/s"
    return f"{rows_per_second:,.0f} rows/s" if rows_per_second >= 100 else f"{rows_per_second:.1f} rows/s"


def clock_text(seconds: float) -> str:
    """A duration as on a stopwatch.

    >>> clock_text(75.4), clock_text(3725)
    ('1:15', '1:02:05')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def speed_text(made: Mapping[str, Json]) -> str:
    """`169 steps in 258 ms, 655.0 steps/s, 41,922 rows/s`, as far as the record of a training tells; of a `map` that
    writes texts, how fast it did.

    >>> speed_text({"steps": 10, "batch": 64, "training_seconds": 2.0})
    '10 steps in 2.0 s, 5.0 steps/s, 320 rows/s'
    >>> speed_text({"steps": 10, "continued": [3, 7]})
    '10 steps, continued at steps 3 and 7'
    >>> speed_text({"rows": 8, "written": 2040, "writing_seconds": 3.0})
    '2,040 tokens in 3.0 s, 680 tokens/s'
    """
    if made.get("writing_seconds"):
        tokens, taken = made["written"], made["writing_seconds"]
        return f"{tokens:,} tokens in {duration_text(taken)}, {tokens / taken:,.0f} tokens/s"
    at = [f"{step:,}" for step in made.get("continued", ())]
    continued = f", continued at step{'s' * (len(at) > 1)} {' and '.join(at)}" if at else ""
    steps, seconds = made.get("steps"), made.get("training_seconds")
    if not steps:
        return ""
    if not seconds:
        return f"{steps:,} steps{continued}"
    rows = steps * made.get("batch", 0) / seconds
    return f"{steps:,} steps in {duration_text(seconds)}, {steps / seconds:,.1f} steps/s, {rows:,.0f} rows/s{continued}"
