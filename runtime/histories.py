"""Histories of trainings as people read them: the order of their columns, and how fast a training was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etude.runtime.progress.durations import duration_text

Json = Any
History = Sequence[Mapping[str, Json]]
COUNTED = ("step", "epoch", "lr")  # columns that are no terms of a loss


def columns_of(history: History) -> list[str]:
    """The columns of a history as people read them: where it is, losses, their parts, rates, validation.

    >>> columns_of([{"class": 1.0, "epoch": 1, "loss": 1.0, "lr": 0.1, "step": 5, "valid.loss": 1.0}])
    ['step', 'epoch', 'loss', 'class', 'lr', 'valid.loss']
    """

    def place(name: str) -> tuple[int, bool, bool]:
        rank = {"step": 0, "epoch": 1, "lr": 3}.get(name, 4 if name.startswith("valid.") else 2)
        return rank, name.split(".")[-1] != "loss", name.endswith((".score", ".accuracy"))

    return sorted(dict.fromkeys(name for row in history for name in row), key=place)


def speed_text(made: Mapping[str, Json]) -> str:
    """`169 steps in 258 ms, 655.0 steps/s, 41,922 rows/s`, as far as the record of a training tells.

    >>> speed_text({"steps": 10, "batch": 64, "training_seconds": 2.0})
    '10 steps in 2.0 s, 5.0 steps/s, 320 rows/s'
    """
    steps, seconds = made.get("steps"), made.get("training_seconds")
    if not steps:
        return ""
    if not seconds:
        return f"{steps:,} steps"
    rows = steps * made.get("batch", 0) / seconds
    return f"{steps:,} steps in {duration_text(seconds)}, {steps / seconds:,.1f} steps/s, {rows:,.0f} rows/s"
