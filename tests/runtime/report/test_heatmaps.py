"""Matrices in the report."""

from __future__ import annotations

from typing import Any

import pytest

from etude.runtime.report.heatmaps import heatmap_png, heatmap_table, shares
from etude.runtime.report.spreadsheets import heatmap_csv
from etude.runtime.store import Store


def matrix(classes: int) -> Any:
    values = [[int(i == j) for j in range(classes)] for i in range(classes)]
    names = [f"class <{n}>" for n in range(classes)]
    return {"values": values, "rows": names, "columns": names, "x": "prediction", "y": "label"}


@pytest.mark.parametrize("classes", [1, 3, 120])
def test_a_matrix_of_any_size_is_drawn_for_both_papers(store: Store, classes: int) -> None:
    drawn = heatmap_png(store, matrix(classes))
    assert drawn is not None
    assert all(drawn[paper].startswith(b"\x89PNG") for paper in ("light", "dark"))
    assert drawn["light"] != drawn["dark"]


def test_colours_are_shares_of_the_row() -> None:
    assert shares([[1, 3], [None, 0]]) == [[0.25, 0.75], [0.0, 0.0]]


def test_the_table_names_its_rows_and_columns_for_those_who_cannot_see_the_picture() -> None:
    table = heatmap_table(matrix(2))
    assert '<th scope="row">class &lt;1&gt;</th><td class="number">0</td><td class="number">1</td>' in table
    assert '<th scope="col" class="number">class &lt;0&gt;</th>' in table
    assert heatmap_table(matrix(60)) == ""


def test_the_file_has_names_and_numbers() -> None:
    lines = heatmap_csv(matrix(2)).splitlines()
    assert lines == ["label/prediction,class <0>,class <1>", "class <0>,1,0", "class <1>,0,1"]


def test_a_matrix_with_negative_numbers_is_drawn(store: Store) -> None:
    figure = {"values": [[-1.5, 0.5], [None, 2.0]], "rows": ["a", "b"], "columns": ["c", "d"], "x": "", "y": ""}
    pngs = heatmap_png(store, figure)
    assert pngs is not None and all(png.startswith(b"\x89PNG") for png in pngs.values())
