"""The report of a run: a page that needs nothing else, and its tables and curves as files of their own."""

from __future__ import annotations

from pathlib import Path

from etude.runtime.results import RunResult


def write_report(result: RunResult, recipe_text: str) -> Path:
    """Write `report/` into the run's folder; the path of its page."""
    from etude.runtime.report.page import write_page

    return write_page(result, recipe_text)
