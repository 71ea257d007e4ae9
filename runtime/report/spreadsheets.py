"""Tables and curves as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

Json = Any


def table_csv(table: Json) -> str:
    """A table as it is; missing values are empty."""
    return _csv([table["columns"], *table["rows"]])


def figure_csv(figure: Json) -> str:
    """The points of all series, one a line."""
    rows = [
        [series["label"], series.get("name", ""), x, y]
        for series in figure["series"]
        for x, y in zip(series["x"], series["y"], strict=True)
    ]
    return _csv([["series", "column", figure["x"], "value"], *rows])


def _csv(rows: list[list[Json]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["" if cell is None else cell for cell in row] for row in rows])
    return text.getvalue()
