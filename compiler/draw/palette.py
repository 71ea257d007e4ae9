"""The colours of a drawing: one light fill and one line colour for each family of kinds, for light and dark paper."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tone:
    """Fill and line on light paper, then the same on dark paper."""

    fill: str
    line: str
    dark_fill: str
    dark_line: str


SOURCE = Tone("#e3edfb", "#7a9cd0", "#1f2f47", "#5f83bb")
DATA = Tone("#eef4f8", "#9db3c4", "#232d35", "#63798a")
TRAIN = Tone("#fdeadb", "#dd9a63", "#43301f", "#c98650")
MEASURE = Tone("#e4f3e8", "#78b38b", "#1f3528", "#5b9a70")
NUMBER = Tone("#f4f4f5", "#b4b7bd", "#2a2b2f", "#72767e")
CLAIM = Tone("#fff5d2", "#d3b04c", "#3d3517", "#b3943c")
REPORT = Tone("#f0eafa", "#a98fd0", "#302844", "#8b72b3")
FROZEN = Tone("#e6eff6", "#8fb0cb", "#1f2d38", "#5d7f9a")

TONES = {
    "load": SOURCE,
    "column": SOURCE,
    "train": TRAIN,
    "edit": FROZEN,
    "measure": MEASURE,
    "collect": MEASURE,
    "latency": MEASURE,
    "compute": NUMBER,
    "tensor": NUMBER,
    "require": NUMBER,
    "claim": CLAIM,
    "table": REPORT,
    "plot": REPORT,
    "heatmap": REPORT,
    "report": REPORT,
    "learns": TRAIN,
    "frozen": FROZEN,
    "loss": CLAIM,
    "operation": NUMBER,
    "model": NUMBER,
    "input": SOURCE,
    "optimizer": REPORT,
}
INK, SOFT_INK, FAINT_INK, EDGE, FRAME_FILL, FRAME_LINE = (
    "#24292f",
    "#57606a",
    "#8b949e",
    "#9aa4af",
    "#fafbfc",
    "#d8dee4",
)
FLOWS = {
    "Dataset": "#7d9bb8",
    "Model": "#d08e57",
    "Metric": "#72ab85",
    "Tensor": "#72ab85",
    "Tree": "#72ab85",
    "Tokenizer": "#a3905f",
    "History": "#a48ccb",
    "Table": "#a48ccb",
    "Figure": "#a48ccb",
}
"""The colours of arrows, by what flows along them; others have its name beside them."""
GOOD, BAD, UNSURE = "#2f8f4e", "#c8392f", "#9a7d0a"
STATE_INK = {"holds": GOOD, "cached": GOOD, "partly cached": GOOD, "fails": BAD, "failed": BAD, "cannot tell": UNSURE}
FONT = "Helvetica,Arial,sans-serif"  # a list: "Helvetica" alone falls to whatever the system has first


def tone(kind: str) -> Tone:
    """The colours of a kind; everything that makes data from data shares one."""
    return TONES.get(kind, DATA)
