"""What a source holds, found in one pass over all its rows in little memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array
from etude.runtime.sources import chunks, describe

Json = Any
SHOWN_TEXT = 40
SHOWN_NUMBERS = 4
MOST_KINDS = 8  # different texts that a column is said to have
JSON_NUMBERS = 64


@dataclass
class Statistic:
    """A column so far: the `counts` of each class; of numbers the least, largest and mean, and how many are not finite
    (`odd`); of texts their lengths, and the `kinds` there are while they are few and short."""

    schema: ColumnSchema
    rows: int = 0
    low: float | None = None
    high: float | None = None
    total: float = 0.0
    elements: int = 0
    odd: int = 0
    counts: list[int] | None = None
    kinds: set[str] | None = field(default_factory=set)

    def add(self, values: Array) -> None:
        """Take in more rows."""
        self.rows += len(values)
        if self.schema.kind == "label" or self.schema.class_names is not None:
            self._count(values)
        if self.schema.kind == "label":
            return
        numbers = np.array([len(text) for text in values]) if self.schema.kind == "text" else values
        if self.schema.kind == "text" and self.kinds is not None:
            self.kinds |= set(values)
            if len(self.kinds) > MOST_KINDS or numbers.max(initial=0) > SHOWN_TEXT:
                self.kinds = None
        if numbers.dtype.kind == "f" and not (is_finite := np.isfinite(numbers)).all():
            self.odd += int(numbers.size - is_finite.sum())
            numbers = numbers[is_finite]
        if numbers.size:
            low, high = float(numbers.min()), float(numbers.max())
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)
            self.total += float(numbers.sum(dtype=np.float64))
            self.elements += numbers.size

    def _count(self, values: Array) -> None:
        if self.schema.kind == "label":
            found = np.bincount(values, minlength=self.schema.classes or 0)
        else:
            found = values.sum(axis=0).astype(np.int64)
        self.counts = [a + int(b) for a, b in zip(self.counts or [0] * len(found), found, strict=True)]

    @property
    def mean(self) -> float | None:
        return self.total / self.elements if self.elements else None

    def to_json(self) -> Json:
        if self.counts is not None:
            names = self.schema.class_names or tuple(map(str, range(len(self.counts))))
            return {"counts": dict(zip(names, self.counts, strict=True))}
        unit = "length" if self.schema.kind == "text" else "value"
        odd = {"not_finite": self.odd} if self.odd else {}
        return {f"least_{unit}": self.low, f"largest_{unit}": self.high, f"mean_{unit}": self.mean, **odd}

    def text(self) -> str:
        """A few words for people."""
        if self.counts is not None:
            used = sum(count > 0 for count in self.counts)
            return f"{used} classes" if used == len(self.counts) else f"{used} of {len(self.counts)} classes"
        odd = f"{self.odd:,} not finite" if self.odd else ""
        if self.low is None or self.high is None:
            return odd or "no values"
        if self.schema.kind == "text":
            lengths = _range(int(self.low), int(self.high)) + (" character" if self.high == 1 else " characters")
            kinds = sorted(self.kinds or ()) if self.rows > MOST_KINDS else []
            return f"{lengths}, {len(kinds)} different: {', '.join(map(text_in_short, kinds))}" if kinds else lengths
        if self.schema.dtype == "bool":
            return f"{self.mean:.1%} true"
        if self.schema.dtype == "int32":
            return f"{_range(int(self.low), int(self.high))}, mean {number_text(self.mean)}"
        found = f"{number_text(self.low)} to {number_text(self.high)}, mean {number_text(self.mean)}"
        return f"{found}, {odd}" if odd else found


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def text_in_short(text: str) -> str:
    """The beginning of a text in quotes, on one line."""
    line = text[: SHOWN_TEXT + 1].replace("\n", "⏎").replace("\t", " ")
    return f'"{line}"' if len(text) <= SHOWN_TEXT else f'"{line[:SHOWN_TEXT]}.."'


def number_text(value: float | None) -> str:
    """A number in four digits, without a power of ten where it can be read at a glance.

    >>> [number_text(value) for value in (39999.5, 0.00031234, 1.5, 12345678.0, -1e-9)]
    ['39,999.5', '0.0003123', '1.5', '12,345,678', '-1e-09']
    """
    if value is None:
        return "-"
    if 1e4 <= abs(value) < 1e9:
        return f"{value:,.1f}".removesuffix(".0")
    return f"{value:.4g}"


@dataclass
class Summary:
    """All columns, and the first rows as they are."""

    rows: int = 0
    statistics: dict[str, Statistic] = field(default_factory=dict)
    sample: list[dict[str, Any]] = field(default_factory=list)

    def json_rows(self) -> list[Json]:
        """The first rows; of tensors the numbers where they are few, else their shape."""
        return [{name: self._json_value(name, value) for name, value in row.items()} for row in self.sample]

    def text_rows(self) -> list[dict[str, str]]:
        """The first rows, each value in a few characters."""
        return [{name: self._text(name, value) for name, value in row.items()} for row in self.sample]

    def _json_value(self, name: str, value: Any) -> Json:
        named = self._class_names(name, value)
        if named is not None or isinstance(value, str):
            return value if named is None else named
        return value.tolist() if np.size(value) <= JSON_NUMBERS else {"shape": list(np.shape(value))}

    def _text(self, name: str, value: Any) -> str:
        named = self._class_names(name, value)
        if named is not None:
            return named if isinstance(named, str) else "[" + ", ".join(named) + "]"
        if isinstance(value, str):
            return text_in_short(value)
        if np.ndim(value) == 0:
            return f"{value.item():.4g}" if value.dtype.kind == "f" else str(value.item()).lower()
        if np.ndim(value) > 1:
            return "x".join(map(str, np.shape(value)))
        numbers = " ".join(f"{each:.3g}" for each in value[:SHOWN_NUMBERS].tolist())
        return f"[{numbers}{' ..' if len(value) > SHOWN_NUMBERS else ''}]"

    def _class_names(self, name: str, value: Any) -> str | list[str] | None:
        """The class of a label, or the classes of a multi-label, where they have names."""
        schema = self.statistics[name].schema
        if schema.class_names is None:
            return None
        return schema.class_names[int(value)] if schema.kind == "label" else [
            each for each, is_there in zip(schema.class_names, value, strict=True) if is_there
        ]  # fmt: skip


def summarize(uri: str, options: Mapping[str, Any], base: Path, sample_rows: int) -> Summary:
    """Read a source once. Raises `SourceError` where its data is not what its schema says."""
    columns = describe(uri, options, base).columns
    summary = Summary(0, {column.name: Statistic(column) for column in columns})
    for chunk in chunks(uri, options, base):
        size = len(chunk[columns[0].name])
        for index in range(min(size, sample_rows - len(summary.sample))):
            summary.sample.append({column.name: chunk[column.name][index] for column in columns})
        for column in columns:
            summary.statistics[column.name].add(chunk[column.name])
        summary.rows += size
    return summary
