"""`etude new`, `explain`, `doctor` and `completion`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.runtime.cli.commands import doctor
from etude.runtime.cli.completion import bash, fish
from etude.runtime.cli.main import command_names

Cli = Callable[..., Any]


def test_a_new_recipe_passes_its_check(cli: Cli, folder: Path) -> None:
    shown = cli("new", "papers/first")
    assert shown.code == 0
    assert "etude run papers/first/first.etude" in shown.out
    text = (folder / "papers/first/first.etude").read_text()
    assert "NAME" not in text
    assert cli("check", "papers/first/first.etude").out.startswith("papers/first/first.etude: no problems")
    assert cli("fmt", "--check", "papers/first/first.etude").code == 0


def test_nothing_is_overwritten(cli: Cli, folder: Path) -> None:
    cli("new", "first")
    shown = cli("new", "first")
    assert shown.code == 2
    assert "first exists already" in shown.err
    assert cli("new", "host.etude").code == 2


def test_a_code_is_explained_without_markup(cli: Cli) -> None:
    shown = cli("explain", "e201")
    assert shown.code == 0
    assert shown.out.startswith("E201: a name that nothing defines\n")
    assert "```" not in shown.out


def test_all_codes_are_listed(cli: Cli) -> None:
    lines = cli("explain").out.splitlines()
    assert lines == sorted(lines)
    assert any(line.startswith("E201  a name") for line in lines)


def test_an_unknown_code_names_near_ones(cli: Cli) -> None:
    shown = cli("explain", "E209x")
    assert shown.code == 2
    assert "E209" in shown.err


def test_the_doctor_tells_what_is_there(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = 'import json; print(json.dumps({"version": "9.9", "devices": ["cpu"]}))'
    monkeypatch.setattr(doctor, "PROBES", {"torch": answer, "jax": "raise ImportError('no jaxlib')"})
    shown = cli("doctor")
    assert shown.code == 0
    assert "torch" in shown.out and "9.9, devices: cpu" in shown.out
    assert "ImportError: no jaxlib" in shown.out
    assert "store" in shown.out and "not made yet" in shown.out
    found = cli("doctor", "--json").json
    assert found["backends"]["torch"] == {"version": "9.9", "devices": ["cpu"]}
    assert found["store"] == {"path": ".etude", "exists": False}
    assert found["packages"]["lark"]
    assert found["targets"]["cpu"] == ["torch"]
    assert found["targets"]["gpu"] == found["targets"]["tpu"] == []
    assert "target gpu" in shown.out and "plans for tpu:v5e:2x2" in shown.out


def test_the_doctor_fails_where_nothing_can_run(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBES", {"torch": "raise SystemExit(3)"})
    shown = cli("doctor")
    assert shown.code == 4
    assert "it ended without a word" in shown.out


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_choices(folder: Path) -> None:
    def complete(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in words)
        script = (
            f"{bash()}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _etude; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=folder)
        return done.stdout.split()

    assert complete("etude", "ch") == ["check"]
    assert "--format" in complete("etude", "check", "--")
    assert complete("etude", "check", "--format", "") == ["text", "json", "sarif"]
    assert complete("etude", "check", "ho") == ["host.etude"]


def test_fish_knows_every_command() -> None:
    text = fish()
    assert all(f"-a {name} -d" in text for name in command_names())


def test_an_unknown_shell_is_refused(cli: Cli) -> None:
    shown = cli("completion", "tcsh")
    assert shown.code == 2
    assert "hint: there are bash, zsh, fish" in shown.err
