"""Numbers that are none: told of where they come into being, and where they end a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from etude.runtime.arrays import Array

PIECE_ROWS = 4096


class Missing:
    """Counts the rows of each column in which a number is none, while the rows go by in pieces."""

    def __init__(self, is_missing: Callable[[Array], Any] = np.isnan) -> None:
        self._is_missing = is_missing
        self._rows = 0
        self._found: dict[str, tuple[int, int]] = {}

    def passed(
        self, pieces: Iterable[Mapping[str, Array]], names: Sequence[str] | None = None
    ) -> Iterator[Mapping[str, Array]]:
        """The pieces as they are; with `names` only these columns are looked at."""
        for piece in pieces:
            for name, values in piece.items():
                if names is None or name in names:
                    self.look(name, values, self._rows)
            self._rows += len(next(iter(piece.values()), ()))
            yield piece

    def look(self, name: str, values: Array, first: int) -> None:
        """Look at some rows of a column, of which the first is row `first`."""
        if values.dtype.kind != "f" or not self._is_missing(values).any():
            return
        rows = np.flatnonzero(self._is_missing(values).reshape(len(values), -1).any(axis=1))
        count, place = self._found.get(name, (0, first + int(rows[0])))
        self._found[name] = (count + len(rows), place)

    def texts(self, what: str, rows: int) -> list[str]:
        """A sentence for each column that has such rows."""
        return [
            f'column "{name}": {count:,} of {rows:,} rows hold {what}, the first is row {place}'
            for name, (count, place) in self._found.items()
        ]


def not_finite(columns: Mapping[str, Any], names: Iterable[str], rows: Mapping[str, int]) -> list[str]:
    """What is not finite in some columns, of which `rows` says how many rows each has."""
    told: list[str] = []
    for name in names:
        found = Missing(lambda values: ~np.isfinite(values))
        for first in range(0, rows[name], PIECE_ROWS):
            found.look(name, columns[name][slice(first, first + PIECE_ROWS)], first)
        told += found.texts("a number that is not finite", rows[name])
    return told
