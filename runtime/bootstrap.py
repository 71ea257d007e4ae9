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
from statistics import NormalDist
from typing import Any

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
        return _undecided(pairs, confidence, f"{len(values)} runs are too few for {confidence:.0%} confidence")
    means = sorted(resampled_means(values))
    total = sum(weight for _, weight in means)
    low, high = quantile(means, level * total), -quantile([(-m, w) for m, w in reversed(means)], level * total)
    verdict = True if low > 0 else False if high <= 0 else None
    reason = {True: "better", False: "not better", None: "the runs differ too much to decide"}[verdict]
    wins = sum(value > 0 for value in values)
    return Comparison(verdict, len(values), confidence, math.fsum(values) / len(values), low, high, wins, reason)


def _undecided(pairs: Sequence[tuple[float | None, float | None]], confidence: float, reason: str) -> Comparison:
    values = [a - b for a, b in pairs if a is not None and b is not None]
    mean = math.fsum(values) / len(values) if values else None
    wins = sum(value > 0 for value in values)
    return Comparison(None, len(pairs), confidence, mean, None, None, wins, reason)


def expanded_level(runs: int, confidence: float) -> float | None:
    """The tail of the bootstrap distribution that a bound cuts off; None where its smallest atom is larger.

    >>> [level and round(level, 4) for level in (expanded_level(3, 0.95), expanded_level(5, 0.95))]
    [None, 0.0086]
    """
    if runs < 2:
        return None
    widening = math.sqrt(runs / (runs - 1))
    level = NormalDist().cdf(-widening * student_quantile(confidence, runs - 1))
    return level if level >= float(runs) ** -runs else None


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


def student_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t with whole degrees of freedom, for a probability of at least one half.

    >>> round(student_quantile(0.95, 4), 3)
    2.132
    """
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < probability else (low, middle)
    return high


def student_cdf(t: float, freedom: int) -> float:
    """The finite series of Abramowitz and Stegun 26.7.3 and 26.7.4, for t >= 0."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if odd:
        inside = angle + (sine * total if freedom > 1 else 0.0)
        return 0.5 + inside / math.pi
    return 0.5 + sine * total / 2
