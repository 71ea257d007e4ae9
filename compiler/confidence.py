"""How much a number of runs can show: what the bounds of a paired comparison cut off, known before any run.

A plain percentile interval of the bootstrap is too narrow for a handful of runs, so its level is taken from Student's t
as Hesterberg (2015, "What teachers should know about the bootstrap", section 5.3) does.
"""

from __future__ import annotations

import math


def fewest_runs(confidence: float) -> int:
    """The smallest number of runs that can show anything with this confidence, on one side.

    >>> [fewest_runs(confidence) for confidence in (0.8, 0.9, 0.95, 0.99)]
    [3, 4, 5, 6]
    """
    runs = 2
    while expanded_level(runs, confidence) is None:
        runs += 1
    return runs


def expanded_level(runs: int, confidence: float) -> float | None:
    """The tail of the bootstrap distribution that a bound cuts off; None where its smallest atom is larger.

    >>> [level and round(level, 4) for level in (expanded_level(3, 0.95), expanded_level(5, 0.95))]
    [None, 0.0086]
    """
    if runs < 2:
        return None
    widening = math.sqrt(runs / (runs - 1))
    level = 0.5 * math.erfc(widening * student_quantile(confidence, runs - 1) / math.sqrt(2.0))
    return level if level >= float(runs) ** -runs else None


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
