"""Which trackers follow a run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from etude.runtime.tracking import tracker_module, tracker_names
from etude.runtime.tracking.settings import TrackError, chosen_trackers


def test_a_tracker_is_a_file_and_says_what_it_needs_and_takes() -> None:
    assert tracker_names() == ["mlflow", "tensorboard", "wandb"]
    for name in tracker_names():
        module = tracker_module(name)
        assert callable(module.open_tracker)
        assert module.NEEDS in (None, name)
        assert all(isinstance(text, str) for text in module.SETTINGS.values())


@pytest.fixture
def everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


@pytest.mark.parametrize(
    ("asked", "file", "names"),
    [
        ([], "", ["tensorboard"]),
        (["mlflow"], "", ["tensorboard", "mlflow"]),
        (["none"], "", []),
        ([], '[track]\nto = ["wandb"]\n', ["wandb"]),
        ([], "[track]\nto = []\n", []),
        (["mlflow"], '[track]\nto = ["wandb"]\n', ["wandb", "mlflow"]),
        (["none"], '[track]\nto = ["wandb"]\n', []),
        ([], '[track.wandb]\nmode = "offline"\n', ["tensorboard"]),
    ],
)
def test_what_is_asked_for_joins_what_the_file_says(
    everything_installed: None, tmp_path: Path, asked: list[str], file: str, names: list[str]
) -> None:
    (tmp_path / "etude.toml").write_text(file)
    below = tmp_path / "recipes"
    below.mkdir()
    assert list(chosen_trackers(asked, below)) == names


def test_the_nearest_file_with_settings_of_trackers_counts(everything_installed: None, tmp_path: Path) -> None:
    below = tmp_path / "recipes"
    below.mkdir()
    (tmp_path / "etude.toml").write_text('[track]\nto = ["mlflow"]\n[track.mlflow]\nuri = "sqlite:///x.db"\n')
    (below / "etude.toml").write_text("[target.cpu]\n")
    assert chosen_trackers([], below) == {"mlflow": {"uri": "sqlite:///x.db"}}


@pytest.mark.parametrize(
    ("asked", "file", "message", "hint"),
    [
        (["comet"], "", "there is no tracker 'comet'", "there are mlflow, tensorboard, wandb"),
        ([], '[track]\nto = ["comet"]\n', "there is no tracker 'comet'", "there are"),
        ([], "[track.comet]\n", "there is no tracker 'comet'", "there are"),
        ([], '[track]\nto = "wandb"\n', "etude.toml:2: 'to' of [track] is a list of names", 'to = ["tensorboard"]'),
        ([], "\n[track]\nmlflow = true\n", "etude.toml:3: 'mlflow' of [track] is a table", "[track.mlflow]"),
        ([], '[track.wandb]\nteam = "x"\n', "etude.toml:2: nothing reads 'team'", "it has project, entity, mode"),
        ([], '[track.wandb]\nmod = "x"\n', "nothing reads 'mod' of [track.wandb]", 'did you mean "mode"?'),
        ([], "[run]\n\n[track.tensorbord]\n", "etude.toml:3: there is no tracker", 'did you mean "tensorboard"?'),
        ([], "track = 3\n", "etude.toml:1: 'track' is a table", "write [track]"),
        ([], "[track.tensorboard]\nx = 1\n", "nothing reads 'x'", "it has no settings"),
        ([], "[track.wandb]\nmode = 1\n", "'mode' of [track.wandb] is a text, got 1", ""),
        ([], "[track\n", "etude.toml: ", ""),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(
    everything_installed: None, tmp_path: Path, asked: list[str], file: str, message: str, hint: str
) -> None:
    (tmp_path / "etude.toml").write_text(file)
    with pytest.raises(TrackError) as caught:
        chosen_trackers(asked, tmp_path)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_tracker_that_is_not_installed_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def found(name: str) -> Any:
        return None if name == "mlflow" else name

    monkeypatch.setattr(importlib.util, "find_spec", found)
    with pytest.raises(TrackError) as caught:
        chosen_trackers(["mlflow"], tmp_path)
    assert caught.value.message == "'mlflow' is not installed, which --track mlflow needs"
    assert caught.value.hint == "pip install mlflow"
