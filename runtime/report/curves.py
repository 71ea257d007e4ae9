"""Curves as PNG, for light and for dark paper."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from etude.runtime.report.cache import drawn_once
from etude.runtime.store import Store

Json = Any
COLOURS = ("#3b76c4", "#dd8447", "#4f9d69", "#a06cc0", "#c8505a", "#7d8792", "#b3943c", "#3fa3a8")
PAPERS = {"light": ("#24292f", "#d8dee4"), "dark": ("#d8dee4", "#3b434c")}
DASHES = ("-", "--", ":", "-.")  # of series that share a colour
WIDTH, HEIGHT, DPI = 6.4, 3.4, 160
FEW, IN_A_COLUMN = 8, 18  # series that are named above the curves; names in a column beside them
AXES = {"epoch": "epoch", "step": "step"}


def curves_png(store: Store, figure: Json) -> dict[str, bytes] | None:
    """The figure as "light" and "dark" PNG; None without matplotlib."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        return None
    subject = {key: figure[key] for key in ("series", "x", "y")}
    return drawn_once(store, ["curves", subject], lambda: {paper: _draw(figure, paper) for paper in PAPERS})


def _draw(figure: Json, paper: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    ink, line = PAPERS[paper]
    many = len(figure["series"]) > FEW
    width = WIDTH + 2.2 if many else WIDTH
    canvas = FigureCanvasAgg(Figure(figsize=(width, HEIGHT), dpi=DPI, layout="constrained"))
    axes = canvas.figure.add_subplot()
    for position, series in enumerate(figure["series"]):
        dashes = DASHES[position // len(COLOURS) % len(DASHES)]
        _draw_series(axes, series, COLOURS[position % len(COLOURS)], dashes)
    axes.set_xlabel(AXES.get(figure["x"], figure["x"]), color=ink)
    axes.set_ylabel(", ".join(figure["y"]), color=ink)
    axes.tick_params(colors=ink, length=0)
    axes.grid(True, color=line, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(line)
    if many:
        columns = 1 + (len(figure["series"]) - 1) // IN_A_COLUMN
        size = "small" if columns == 1 else "xx-small"
        canvas.figure.legend(frameon=False, labelcolor=ink, fontsize=size, loc="outside right upper", ncols=columns)
    elif len(figure["series"]) > 1:
        above = (0.0, 1.0)
        axes.legend(frameon=False, labelcolor=ink, fontsize="small", loc="lower left", bbox_to_anchor=above, ncols=4)
    buffer = io.BytesIO()
    canvas.figure.savefig(buffer, format="png", transparent=True, metadata={"Software": None})
    return buffer.getvalue()


def _draw_series(axes: Any, series: Mapping[str, Sequence[float] | str], colour: str, dashes: str) -> None:
    few = len(series["x"]) < 30
    marker = {"marker": "o", "markersize": 3.2} if few else {}
    axes.plot(series["x"], series["y"], color=colour, linestyle=dashes, linewidth=1.7, label=series["label"], **marker)
