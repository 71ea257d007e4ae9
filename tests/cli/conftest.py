"""The command line in this process, in a folder with a small recipe that needs no framework."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from etude.runtime.cli.main import main

HOST = """param share: fraction = 50% in 1%..100%
data  = load("numbers.csv") |> split(train = 60%, test = 40%)
few   = data.train |> sample(share)
means = {few: measure(few, row => row.x), all: measure(data.train, row => row.x)}
expect means.few > 1 because "numbers grow"
report {
  table = table([means])
  few   = means.few
}
"""


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run `etude` with these arguments."""

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        found = capsys.readouterr()
        return Outcome(code, found.out, found.err)

    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: `host.etude` and its data."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{number / 2},{number % 2}\n" for number in range(40))
    (tmp_path / "numbers.csv").write_text("x,label\n" + rows)
    (tmp_path / "host.etude").write_text(HOST)
    return tmp_path
