"""MLflow and Weights & Biases, told for real where they are installed: neither is part of the development setup."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from etude.runtime.grids import grid_png
from etude.runtime.tracking import Subject, tracker_module

OUTCOME = {"metrics": {"score": 0.5}, "claims": [], "failed": 0, "started": 100.0, "seconds": 2.0}
PNG = grid_png(np.zeros((1, 4, 4), np.float32))


def test_mlflow_is_told_numbers_params_files_and_the_end(subject: Subject, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
    pytest.importorskip("sqlalchemy", reason="MLflow keeps runs in a file only with SQLAlchemy")
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    tracker = tracker_module("mlflow").open_tracker(subject, {"uri": uri, "experiment": "mine"})
    tracker.numbers("net/1", 10, {"valid.loss": 2.0}, 100.0)
    tracker.picture("report.dots", "image", PNG, 100.0)
    tracker.close(OUTCOME)

    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert (run.info.run_name, run.info.status) == ("20261121-1", "FINISHED")
    assert run.data.params == {"backend": "torch", "labels": "0.1", "quick": "True"}
    assert run.data.metrics == {"net/1/valid.loss": 2.0, "score": 0.5}
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"recipe.etude", "report.dots"}


def test_weights_and_biases_keeps_an_offline_run_in_the_folder_of_the_run(subject: Subject) -> None:
    pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    tracker = tracker_module("wandb").open_tracker(subject, {"mode": "offline"})
    tracker.numbers("net/1", 10, {"valid.loss": 2.0}, 100.0)
    tracker.picture("report.dots", "image", PNG, 100.0)
    assert tracker.run.config["labels"] == 0.1
    tracker.close(OUTCOME)

    assert list((subject.folder / "wandb").glob("offline-run-*/run-*.wandb"))
