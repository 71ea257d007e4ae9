"""`etude run` and those who follow it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Cli = Callable[..., Any]


def event_files(folder: Path, run: Any) -> list[str]:
    place = folder / ".etude" / "runs" / run["run"]
    return [file.relative_to(place).as_posix() for file in place.rglob("*tfevents*")]


def test_a_run_that_executes_something_leaves_files_for_tensorboard(cli: Cli, folder: Path) -> None:
    first = cli("run", "host.etude", "--json").json
    assert event_files(folder, first) == ["tensorboard/events.out.tfevents.etude"]
    again = cli("run", "host.etude", "--json").json
    assert event_files(folder, again) == []
    asked = cli("run", "host.etude", "--track", "tensorboard", "--json").json
    assert event_files(folder, asked) == ["tensorboard/events.out.tfevents.etude"]


def test_nobody_is_told_where_nobody_is_to_follow(cli: Cli, folder: Path) -> None:
    assert event_files(folder, cli("run", "host.etude", "--track", "none", "--json").json) == []


def test_the_file_beside_the_recipe_says_who_follows(cli: Cli, folder: Path) -> None:
    (folder / "etude.toml").write_text("[track]\nto = []\n")
    assert event_files(folder, cli("run", "host.etude", "--json").json) == []


def test_a_wrong_tracker_is_refused_before_anything_runs(cli: Cli, folder: Path) -> None:
    shown = cli("run", "host.etude", "--track", "tensorbored")
    assert (shown.code, "there is no tracker 'tensorbored'" in shown.err) == (2, True)
    assert 'hint: did you mean "tensorboard"?' in shown.err
    assert not list(folder.glob(".etude/runs/*"))


def test_a_tracker_that_fails_is_named_and_the_run_is_fine(cli: Cli, folder: Path, monkeypatch: Any) -> None:
    def fail(subject: Any, settings: Any) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr("etude.runtime.tracking.tensorboard.open_tracker", fail)
    shown = cli("run", "host.etude")
    assert shown.code == 0
    assert "not followed to its end by tensorboard: ConnectionError: nobody answers" in shown.err


def test_a_run_that_finds_everything_imports_no_tracker_of_a_package(cli: Cli, folder: Path) -> None:
    assert cli("run", "host.etude").code == 0
    program = (
        "import sys, json, io, contextlib\nfrom etude.runtime.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n    main(['run', 'host.etude'])\n"
        "heavy = ('tensorboard', 'tensorflow', 'mlflow', 'wandb', 'google.protobuf')\n"
        "print(json.dumps([n for n in heavy if n in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
