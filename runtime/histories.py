"""Histories of trainings as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etude.runtime.events import read_events

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


def histories_told(path: Path) -> dict[str, list[Mapping[str, Json]]]:
    """The rows of histories in the events of a run, by the name of the stage; of several attempts, the last."""
    told: dict[str, list[Mapping[str, Json]]] = {}
    for event in read_events(path) if path.exists() else []:
        if event["kind"] == "stage-started":
            told.pop(event["name"], None)
        elif event["kind"] == "stage-progress" and event.get("history"):
            told.setdefault(event["name"], []).extend(event["history"])
    return told
