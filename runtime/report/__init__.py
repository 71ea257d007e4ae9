"""The report of a run: a page that needs nothing else, and its tables and curves as files of their own."""

from __future__ import annotations

import contextlib
import importlib
import threading
from pathlib import Path

from etude.runtime.results import RunResult

DRAWN = frozenset({"plot", "heatmap"})  # the kinds of stages whose results matplotlib draws
DRAWING = ("etude.runtime.report.page", "matplotlib.figure", "matplotlib.backends.backend_agg")


def write_report(result: RunResult, recipe_text: str) -> Path:
    """Write `report/` into the run's folder; the path of its page."""
    from etude.runtime.report.page import write_page

    return write_page(result, recipe_text)


def import_drawing() -> None:
    """Import what draws curves on a thread of its own: a run has time for it while a worker imports its framework."""

    def work() -> None:
        with contextlib.suppress(ImportError):  # without matplotlib a report has no curves
            for module in DRAWING:
                importlib.import_module(module)

    threading.Thread(target=work, name="import-drawing").start()
