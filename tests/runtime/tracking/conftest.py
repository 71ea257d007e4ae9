"""A run to follow, and what a tracker is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.runtime.tracking import Subject


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A run in an empty folder, with one stage whose name is no file name."""
    return Subject(
        id="20261121-1",
        recipe="digits",
        text="x = 1\n",
        folder=tmp_path,
        params={"labels": 0.1, "quick": True},
        facts={"backend": "torch"},
        stages={"net/1": "net_1", "report.dots": "report.dots"},
    )
