"""Numbers as a report prints them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Json = Any


def number_text(value: Json) -> str:
    """A number in four digits, lists number by number, anything else as it is.

    >>> number_text(0.91364), number_text(3), number_text(1e-05), number_text(None), number_text(True)
    ('0.9136', '3', '1e-05', '-', 'yes')
    >>> number_text([0.5, [1, None]])
    '0.5, [1, -]'
    """
    if isinstance(value, list):
        return ", ".join(f"[{number_text(each)}]" if isinstance(each, list) else number_text(each) for each in value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def column_texts(values: Sequence[Json]) -> list[str]:
    """A column of a table: numbers of usual size get the same number of decimals.

    >>> column_texts([0.454, 0.48468, None])
    ['0.4540', '0.4847', '-']
    """
    texts = [number_text(value) for value in values]
    floats = [text for value, text in zip(values, texts, strict=True) if isinstance(value, float)]
    if any("e" in text or text in ("nan", "inf", "-inf") for text in floats):
        return texts
    decimals = max((len(text.partition(".")[2]) for text in floats), default=0)
    return [f"{v:.{decimals}f}" if isinstance(v, float) else text for v, text in zip(values, texts, strict=True)]


def value_text(value: Json) -> str:
    """A value of a claim: a list of numbers with its mean."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {value_text(item)}" for name, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        text = ", ".join(number_text(item) for item in value)
        found = mean_and_deviation(value)
        return f"{text} (mean {found[0]})" if found else text
    return number_text(value)


def mean_and_deviation(values: Sequence[Json]) -> tuple[str, str] | None:
    """The mean of a column and its standard deviation in two digits; None unless there are two numbers and no gap."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 2 or len(numbers) < len(values):
        return None
    mean = math.fsum(numbers) / len(numbers)
    deviation = math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))
    return number_text(float(mean)), f"{deviation:.2g}"
