"""Following runs elsewhere: TensorBoard's files in the run's folder, MLflow and Weights & Biases where asked for.

One module per tracker, found by its name: `open_tracker(subject, settings) -> Tracker`, `SETTINGS` with what may stand
below `[track.NAME]` in `etude.toml`, and `NEEDS` with the package that it takes (None: nothing).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Json = Any
PARTS = {"settings", "following", "records"}  # modules of this package that are no tracker


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The run that is followed. `folder` is its folder, `stages` gives a file name for the name of each stage."""

    id: str
    recipe: str
    text: str
    folder: Path
    params: Mapping[str, Json]
    facts: Mapping[str, Json]
    stages: Mapping[str, str]


class Tracker(Protocol):
    """Where a run is followed. Every method may fail: a run goes on without a tracker that does."""

    def numbers(self, stage: str, step: int, values: Mapping[str, float], time: float) -> None:
        """Note numbers of a stage, by their names in its history, after so many steps."""
        ...

    def picture(self, stage: str, name: str, png: bytes, time: float) -> None:
        """Note a picture that a stage made."""
        ...

    def close(self, outcome: Mapping[str, Json] | None) -> None:
        """The run is over; `outcome` is its `run.json`, None where it was interrupted."""
        ...


def tracker_names() -> list[str]:
    """The trackers there are, installed or not."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in PARTS)


def tracker_module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def outcome_numbers(outcome: Mapping[str, Json]) -> dict[str, float]:
    """The numbers of a run's report, and how many of its claims hold.

    >>> outcome_numbers({"metrics": {"score": 0.5, "of": {"a": 1}, "text": "x"}, "claims": [{"verdict": "holds"}]})
    {'score': 0.5, 'of.a': 1.0, 'claims.hold': 1.0, 'claims.fail': 0.0}
    """
    numbers = dict(_flat("", outcome.get("metrics", {})))
    verdicts = [claim["verdict"] for claim in outcome.get("claims", [])]
    if verdicts:
        numbers |= {"claims.hold": float(verdicts.count("holds")), "claims.fail": float(verdicts.count("fails"))}
    return numbers


def _flat(path: str, value: Json) -> list[tuple[str, float]]:
    if isinstance(value, Mapping):
        return [item for name, inner in value.items() for item in _flat(f"{path}.{name}" if path else name, inner)]
    return [(path, float(value))] if isinstance(value, int | float) and not isinstance(value, bool) else []
