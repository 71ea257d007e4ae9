"""What a terminal shows that cannot show everything."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

from etude.runtime.cli.terminal import show_what_it_can


def written(encoding: str, text: str) -> bytes:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    show_what_it_can(stream)
    stream.write(text)
    stream.flush()
    return raw.getvalue()


def test_characters_that_are_missing_have_plainer_ones_in_their_place() -> None:
    assert written("ascii", "✓ ▁▄█ 1 → 2 … ├─ \N{SNOWMAN}") == b"+ _~# 1 > 2 ... |- ?"


def test_a_terminal_that_shows_everything_is_left_alone() -> None:
    assert written("utf-8", "✓ ▁█") == "✓ ▁█".encode()


def test_a_command_ends_well_on_a_terminal_of_ascii(folder: Path) -> None:
    command = [sys.executable, "-m", "etude", "graph", "host.etude"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, cwd=folder, env=environment)
    assert (done.returncode, done.stdout.isascii()) == (0, True)
    assert b"|- data" in done.stdout
