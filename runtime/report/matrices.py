"""Confusion matrices as SVG inside of the page: drawn in a moment, in the page's colours, each cell with its words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from etude.runtime.report.classes import Confusion
from etude.runtime.report.heatmaps import MOST_NAMES, MOST_NUMBERS, shares

SIDE, NARROWEST, WIDTH = 34.0, 5.0, 420.0  # of a cell at most and at least, and of all cells where they are many
LETTER, LONGEST = 6.2, 18  # the width of a letter, and how many of a name are shown
ABOVE = 5  # for a name beside a narrow cell
FLAT = 3  # letters of names that are written level below a column


def matrix_svg(confusion: Confusion) -> str:
    """Labels down, predictions across; colours by the square root of the share of the row, so that few are seen."""
    count = len(confusion.classes)
    side = max(NARROWEST, min(SIDE, WIDTH / count))
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in confusion.classes]
    length = max(map(len, names)) * LETTER
    is_flat = max(map(len, names)) <= FLAT
    left, below = 24 + length + 8, (16 if is_flat else 10 + length * math.sin(math.radians(45))) + 22
    width, height = left + side * count + (4 if is_flat else 12), side * count + below
    parts = [*_cells(confusion, left, side), *_names(names, left, side, is_flat)]
    parts.append(_axis("prediction", left + side * count / 2, height - 4, turned=False))
    parts.append(_axis(confusion.column, 12, side * count / 2, turned=True))
    alt = escape(f"confusion matrix of {count} classes: labels down, predictions across")
    return (
        f'<svg class="matrix" viewBox="0 {-ABOVE} {width:.0f} {height + ABOVE:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="{alt}">{"".join(parts)}</svg>'
    )


def _cells(confusion: Confusion, left: float, side: float) -> Iterator[str]:
    """A square for each count that is not 0, on one ground; with its number where there is room."""
    count, has_numbers = len(confusion.classes), len(confusion.classes) <= MOST_NUMBERS
    whole = side * count
    yield f'<rect class="ground" x="{left:.1f}" y="0" width="{whole:.1f}" height="{whole:.1f}"/>'
    for i, (row, parts) in enumerate(zip(confusion.counts, shares(confusion.counts), strict=True)):
        for j, (value, share) in enumerate(zip(row, parts, strict=True)):
            if not value:
                continue
            x, y, middle, depth = left + side * j, side * i, side / 2, math.sqrt(share)
            words = escape(f"{value} of {sum(row)} {confusion.classes[i]} taken for {confusion.classes[j]}")
            square = f'x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" fill-opacity="{depth:.2f}"'
            yield f"<g><title>{words}</title><rect {square}/>"
            if has_numbers:
                kind = ' class="deep"' if depth > 0.6 else ""
                yield f'<text{kind} x="{x + middle:.1f}" y="{y + middle + 3.5:.1f}" text-anchor="middle">{value}</text>'
            yield "</g>"


def _names(names: list[str], left: float, side: float, is_flat: bool) -> Iterator[str]:
    """The names of classes at both sides, of many every so many."""
    every = -(-len(names) // MOST_NAMES)
    for place in range(0, len(names), every):
        text, middle = escape(names[place]), side * (place + 0.5)
        yield f'<text x="{left - 7:.1f}" y="{middle + 3.5:.1f}" text-anchor="end">{text}</text>'
        x, y = left + middle, side * len(names) + 14
        if is_flat:
            yield f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{text}</text>'
        else:
            yield f'<text transform="translate({x + 3:.1f} {y - 4:.1f}) rotate(-45)" text-anchor="end">{text}</text>'


def _axis(name: str, x: float, y: float, *, turned: bool) -> str:
    place = f'transform="translate({x:.1f} {y:.1f})' + (' rotate(-90)"' if turned else '"')
    return f'<text class="axis" {place} text-anchor="middle">{escape(name)}</text>'
