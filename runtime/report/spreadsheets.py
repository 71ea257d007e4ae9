"""Tables and curves as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from etude.runtime.histories import History, columns_of
from etude.runtime.report.classes import Confusion, class_rows
from etude.runtime.report.heatmaps import heatmap_rows

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


def histories_csv(histories: Mapping[str, History]) -> str:
    """The rows of histories, with the names of their stages first."""
    columns = columns_of([row for history in histories.values() for row in history])
    rows = [[name, *(row.get(column) for column in columns)] for name, history in histories.items() for row in history]
    return _csv([["stage", *columns], *rows])


def heatmap_csv(figure: Json) -> str:
    """A matrix with the names of its rows and columns."""
    return _csv(heatmap_rows(figure))


def classes_csv(confusion: Confusion) -> str:
    """The classes of a measure with their rows, precision, recall and F1."""
    return _csv(class_rows(confusion))


def _csv(rows: list[list[Json]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["" if cell is None else cell for cell in row] for row in rows])
    return text.getvalue()
