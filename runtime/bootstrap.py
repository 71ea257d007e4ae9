"""Whether one list of runs is better than another: a paired bootstrap that knows how little a few runs can show.

The differences of the pairs are resampled with replacement (Efron 1979). A plain percentile interval is too narrow for
a handful of runs, so its level is taken from Student's t as Hesterberg (2015, "What teachers should know about the
bootstrap", section 5.3) does: the expanded percentile interval. Few runs are enumerated exactly, many are resampled
with a counter-based generator, so the verdict is the same whenever it is asked for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from typing import Any

from etude.compiler.confidence import expanded_level, fewest_runs

RESAMPLES = 10_000
EXACT_RUNS = 9  # 24,310 multisets; the next sizes take longer than resampling
MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a paired comparison came to; `low` and `high` are one-sided bounds of the mean difference."""

    verdict: bool | None
    runs: int
    confidence: float
    mean_difference: float | None
    low: float | None
    high: float | None
    wins: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    first: Sequence[float | None], second: Sequence[float | None], confidence: float = 0.95, *, lower: bool = False
) -> Comparison:
    """Judge whether `first` is above `second` (below it, with `lower`), run by run.

    True when the lower bound of the mean difference is above zero; False when the upper bound is not: no better, with
    the same confidence; None in between, when a run has no value, or when so few runs cannot show so much.
    """
    if len(first) != len(second):
        raise ValueError(f"expected as many runs on both sides, got {len(first)} and {len(second)}")
    pairs = [(b, a) if lower else (a, b) for a, b in zip(first, second, strict=True)]
    values = [a - b for a, b in pairs if a is not None and b is not None]
    if len(values) < len(pairs):
        return _undecided(pairs, confidence, f"{len(pairs) - len(values)} of {len(pairs)} pairs have no value")
    level = expanded_level(len(values), confidence)
    if level is None:
        return _undecided(pairs, confidence, few_runs_text(len(values), confidence))
    means = sorted(resampled_means(values))
    total = sum(weight for _, weight in means)
    low, high = quantile(means, level * total), -quantile([(-m, w) for m, w in reversed(means)], level * total)
    verdict = True if low > 0 else False if high <= 0 else None
    reason = {True: "better", False: "not better", None: "the runs differ too much to decide"}[verdict]
    wins = sum(value > 0 for value in values)
    return Comparison(verdict, len(values), confidence, math.fsum(values) / len(values), low, high, wins, reason)


def few_runs_text(runs: int, confidence: float) -> str:
    """What is said of a comparison of too few runs.

    >>> few_runs_text(3, 0.9)
    '3 runs are too few for 90% confidence: 4 can show it'
    """
    count = "1 run is" if runs == 1 else f"{runs} runs are"
    return f"{count} too few for {100 * confidence:.4g}% confidence: {fewest_runs(confidence)} can show it"


def _undecided(pairs: Sequence[tuple[float | None, float | None]], confidence: float, reason: str) -> Comparison:
    values = [a - b for a, b in pairs if a is not None and b is not None]
    mean = math.fsum(values) / len(values) if values else None
    wins = sum(value > 0 for value in values)
    return Comparison(None, len(pairs), confidence, mean, None, None, wins, reason)


def resampled_means(values: Sequence[float]) -> Iterator[tuple[float, int]]:
    """Means of resamples, each with its weight: all multisets of a few runs, else 10,000 draws."""
    count = len(values)
    if count <= EXACT_RUNS:
        arrangements = math.factorial(count)
        for chosen in combinations_with_replacement(range(count), count):
            repeats = math.prod(math.factorial(n) for n in Counter(chosen).values())
            yield math.fsum(values[i] for i in chosen) / count, arrangements // repeats
        return
    for resample in range(RESAMPLES):
        drawn = (values[mix(resample * count + i) * count >> 32] for i in range(count))
        yield math.fsum(drawn) / count, 1


def quantile(weighted: Sequence[tuple[float, int]], mass: float) -> float:
    """The smallest of the sorted values below or at which at least `mass` of the weight lies."""
    seen = 0
    for value, weight in weighted:
        seen += weight
        if seen >= mass:
            return value
    return weighted[-1][0]


def mix(x: int) -> int:
    """The 32-bit hash of counter-based draws.

    >>> mix(1)
    2261973619
    """
    x &= MASK
    x = ((x ^ x >> 16) * 0x21F0AAAD) & MASK
    x = ((x ^ x >> 15) * 0x735A2D97) & MASK
    return x ^ x >> 15
