"""Matrices as colours: PNG for light and dark paper, CSV, and a table for those who cannot see them."""

from __future__ import annotations

import importlib.util
import io
import math
from html import escape
from typing import Any

from etude.runtime.report.cache import drawn_once
from etude.runtime.report.curves import DPI, PAPERS
from etude.runtime.report.numbers import number_text
from etude.runtime.store import Store

Json = Any
INK_AND_PAPER = {"light": ("#ffffff", "#2b5c9e"), "dark": ("#15181c", "#6ea3e6")}  # the colours of least and most
NEGATIVE = {"light": "#b9541f", "dark": "#e5a06f"}
SIDE, MOST_NUMBERS, MOST_NAMES, MOST_CELLS = 0.42, 16, 40, 2500


def heatmap_png(store: Store, figure: Json) -> dict[str, bytes] | None:
    """The figure as "light" and "dark" PNG; None without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    return drawn_once(store, ["heatmap", figure], lambda: {paper: _draw(figure, paper) for paper in PAPERS})


def shares(values: Json) -> list[list[float]]:
    """Each number as a share of its row's sum, which colours show; a row that sums to nothing is blank.

    >>> shares([[3, 1], [0, 0]])
    [[0.75, 0.25], [0.0, 0.0]]
    """
    sums = [sum(abs(value) for value in row if value is not None) for row in values]
    return [[(value or 0) / total if total else 0.0 for value in row] for row, total in zip(values, sums, strict=True)]


def depths(values: Json) -> list[list[float]]:
    """How deep the colour of each number is, from 0 to 1, below 0 for a negative one; of what is missing, 0.

    Counts are shares of their row, and their roots, so that rare mistakes are seen, too; other numbers are compared
    with the largest of all.

    >>> depths([[4, 0], [1, 3]]), depths([[0.5, 2.0], [-1.0, None]])
    ([[1.0, 0.0], [0.5, 0.8660254037844386]], [[0.25, 1.0], [-0.5, 0.0]])
    """
    numbers = [value for row in values for value in row if value is not None]
    if all(isinstance(value, int) and value >= 0 for value in numbers):
        return [[math.sqrt(share) for share in row] for row in shares(values)]
    largest = max(map(abs, numbers), default=0) or 1
    return [[(value or 0) / largest for value in row] for row in values]


def _draw(figure: Json, paper: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    ink, faint = PAPERS[paper]
    values, rows, columns = figure["values"], figure["rows"], figure["columns"]
    most = max(len(rows), len(columns))
    side = max(SIDE, 2.4 / most) if most <= MOST_NUMBERS else 6.4 / most
    size = (1.6 + side * len(columns), 0.9 + side * len(rows))
    canvas = FigureCanvasAgg(Figure(figsize=size, dpi=DPI, layout="constrained"))
    axes = canvas.figure.add_subplot()
    shown = depths(values)
    colours = LinearSegmentedColormap.from_list("numbers", [NEGATIVE[paper], *INK_AND_PAPER[paper]])
    axes.imshow(shown, cmap=colours, vmin=-1, vmax=1, aspect="equal")
    _name(axes.set_xticks, columns, rotation=0 if max(map(len, columns)) <= 3 else 45)
    _name(axes.set_yticks, rows, rotation=0)
    if len(rows) <= MOST_NUMBERS and len(columns) <= MOST_NUMBERS:
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                colour = faint if value == 0 else INK_AND_PAPER[paper][0] if abs(shown[i][j]) > 0.6 else ink
                axes.text(j, i, number_text(value), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xlabel(figure["x"], color=ink)
    axes.set_ylabel(figure["y"], color=ink)
    axes.tick_params(colors=ink, length=0, labelsize=8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    buffer = io.BytesIO()
    canvas.figure.savefig(buffer, format="png", transparent=True, metadata={"Software": None})
    return buffer.getvalue()


def _name(set_ticks: Any, names: list[str], *, rotation: int) -> None:
    """Every name, or of many every so many."""
    every = -(-len(names) // MOST_NAMES)
    places = range(0, len(names), every)
    end = {"rotation": rotation, "ha": "right", "rotation_mode": "anchor"} if rotation else {}
    set_ticks(list(places), [names[place] for place in places], **end)


def heatmap_table(figure: Json) -> str:
    """The numbers as a table whose heads say what they are; nothing for more than fit a page."""
    values, rows, columns = figure["values"], figure["rows"], figure["columns"]
    if not values or len(rows) * len(columns) > MOST_CELLS:
        return ""
    corner = escape(" / ".join(axis for axis in (figure["y"], figure["x"]) if axis))
    heads = "".join(f'<th scope="col" class="number">{escape(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f'<td class="number">{escape(number_text(value))}</td>' for value in row)
        + "</tr>"
        for name, row in zip(rows, values, strict=True)
    )
    return (
        "<details><summary>as a table</summary>"
        f'<div class="scroll"><table class="close"><thead><tr><th>{corner}</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></details>"
    )


def heatmap_rows(figure: Json) -> list[list[Json]]:
    """The lines of a CSV file: names of columns, then each row with its name first."""
    corner = "/".join(axis for axis in (figure["y"], figure["x"]) if axis)
    lines = zip(figure["rows"], figure["values"], strict=True)
    return [[corner, *figure["columns"]], *([name, *values] for name, values in lines)]
