"""Small charts of histories as SVG: one for each term of a loss, training and validation in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from etude.runtime.histories import COUNTED, History, columns_of
from etude.runtime.report.numbers import number_text

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 280, 150, 56, 18, 8  # of a chart, and of its margins
MOST_POINTS, FEWEST_POINTS, MOST_PANELS = 1200, 24, 12  # of all lines of a chart, of one line, of charts
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One term: a line for each training of a sweep, of its steps and of its validations."""

    term: str
    train: list[Points]
    valid: list[Points]

    @property
    def points(self) -> Points:
        return [point for line in (*self.train, *self.valid) for point in line]


def panels_of(histories: Sequence[History]) -> list[Panel]:
    """A panel for each term and each score, in the order of the columns."""
    names = columns_of([row for history in histories for row in history])
    terms = dict.fromkeys(name.removeprefix("valid.") for name in names if name not in COUNTED)
    panels = []
    for term in terms:
        room = max(MOST_POINTS // len(histories), FEWEST_POINTS)
        lines = [[_points(history, name, room) for history in histories] for name in (term, f"valid.{term}")]
        panel = Panel(term, *([line for line in each if line] for each in lines))
        if panel.points:
            panels.append(panel)
    return panels[:MOST_PANELS]


def _points(history: History, name: str, room: int) -> Points:
    """The values over epochs; of many every so many, and the last."""
    points = [(float(row["epoch"]), float(row[name])) for row in history if row.get(name) is not None]
    every = -(-len(points) // room) or 1
    return points[::every] if points[::every][-1:] == points[-1:] else [*points[::every], *points[-1:]]


def panel_svg(panel: Panel) -> str:
    """The panel with the lowest and the highest value, and the epochs, at its sides."""
    low, high = _range([y for _, y in panel.points])
    first, last = _range([x for x, _ in panel.points])
    inner_width, inner_height = WIDTH - LEFT - 6, HEIGHT - BELOW - ABOVE

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + (x - first) / (last - first) * inner_width, ABOVE + (high - y) / (high - low) * inner_height

    bottom = HEIGHT - BELOW
    parts = [f'<line class="axis" x1="{LEFT}" y1="{y}" x2="{WIDTH - 6}" y2="{y}"/>' for y in (ABOVE, bottom)]
    parts += [
        f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{escape(number_text(value))}</text>'
        for y, value in ((ABOVE, float(f"{high:.3g}")), (bottom, float(f"{low:.3g}")))
    ]
    parts += [
        f'<text x="{x}" y="{HEIGHT - 4}" text-anchor="{anchor}">{escape(number_text(float(f"{value:.3g}")))}</text>'
        for x, anchor, value in ((LEFT, "start", first), (WIDTH - 6, "end", last))
    ]
    parts.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 4}" text-anchor="middle">epoch</text>')
    for kind, lines in (("train", panel.train), ("valid", panel.valid)):
        parts += [_line(kind, [place(x, y) for x, y in line], faint=len(lines) > 1) for line in lines]
    label = escape(f"{panel.term} over epochs, from {number_text(low)} to {number_text(high)}")
    return f'<svg class="panel" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _line(kind: str, places: Points, *, faint: bool) -> str:
    style = f"{kind} faint-line" if faint else kind
    if len(places) == 1:
        ((x, y),) = places
        return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
    return f'<polyline class="{style}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'


def _range(values: list[float]) -> tuple[float, float]:
    """The lowest and the highest value, apart even where there is but one."""
    low, high = min(values), max(values)
    if low < high:
        return low, high
    margin = abs(low) * 0.1 or 1.0
    return low - margin, high + margin


def panels_html(panels: Sequence[Panel]) -> str:
    """The charts side by side, and what their colours mean."""
    has_valid = any(panel.valid for panel in panels)
    key = '<p class="key"><i class="train"></i>training' + (
        '<i class="valid"></i>validation</p>' if has_valid else "</p>"
    )
    figures = "".join(
        f"<figure><figcaption>{escape(panel.term)}</figcaption>{panel_svg(panel)}</figure>" for panel in panels
    )
    return f'<div class="panels">{figures}</div>{key}'
