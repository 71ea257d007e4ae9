"""MLflow: one of its runs for each run, in an experiment named after the recipe.

Where it keeps them is `uri`, else what MLflow itself reads from its environment variables. Metrics are called
`STAGE/NAME`, pictures and the recipe are artifacts.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from etude.runtime.tracking import Subject, outcome_numbers

Json = Any
NEEDS = "mlflow"
SETTINGS = {"uri": "where MLflow keeps its runs", "experiment": "the experiment (default: the recipe's name)"}
MOST_METRICS = 1000  # that MLflow takes at once


def open_tracker(subject: Subject, settings: Mapping[str, str]) -> MLflow:
    """Begin a run of MLflow with the params and the recipe."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=settings.get("uri"))
    name = settings.get("experiment", subject.recipe)
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name)
    run = client.create_run(experiment, run_name=subject.id, tags={"etude.run": subject.id})
    tracker = MLflow(client, run.info.run_id, subject)
    for key, value in {**subject.facts, **subject.params}.items():
        client.log_param(tracker.run, allowed(key), str(value))
    tracker.artifact("recipe.etude", subject.text.encode(), None)
    return tracker


class MLflow:
    """Tells MLflow through its client, which may be used from any thread."""

    def __init__(self, client: Any, run: str, subject: Subject) -> None:
        self.client, self.run, self.subject = client, run, subject

    def numbers(self, stage: str, step: int, values: Mapping[str, float], time: float) -> None:
        self._log({f"{stage}/{name}": value for name, value in values.items()}, step, time)

    def picture(self, stage: str, name: str, png: bytes, time: float) -> None:
        self.artifact(f"{name}.png", png, self.subject.stages[stage])

    def close(self, outcome: Mapping[str, Json] | None) -> None:
        if outcome is None:
            self.client.set_terminated(self.run, "KILLED")
            return
        self._log(outcome_numbers(outcome), 0, outcome["started"] + outcome["seconds"])
        self.client.set_terminated(self.run, "FAILED" if outcome.get("failed") else "FINISHED")

    def artifact(self, name: str, data: bytes, folder: str | None) -> None:
        """Hand a file over."""
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / name
            path.write_bytes(data)
            self.client.log_artifact(self.run, str(path), folder)

    def _log(self, values: Mapping[str, float], step: int, time: float) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(allowed(name), value, int(time * 1000), step) for name, value in values.items()]
        for part in batches(metrics):
            self.client.log_batch(self.run, metrics=part)


def batches(metrics: list[Any]) -> Iterable[list[Any]]:
    return (metrics[start : start + MOST_METRICS] for start in range(0, len(metrics), MOST_METRICS))


def allowed(name: str) -> str:
    """A name with the letters that MLflow takes.

    >>> allowed("trials[seed=1].net/valid.loss")
    'trials-seed-1-.net/valid.loss'
    """
    return re.sub(r"[^\w./ -]", "-", name)
