"""Finding commands, and what happens when things go wrong."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude import __version__
from etude.runtime.cli import faults
from etude.runtime.cli.frames import with_room
from etude.runtime.cli.main import command_names, find_command, main
from etude.runtime.cli.options import parser_for

Cli = Callable[..., Any]


def test_the_overview_lists_every_command_with_what_it_does(cli: Cli) -> None:
    for arguments in ([], ["--help"], ["help"]):
        shown = cli(*arguments)
        assert shown.code == 0
        assert all(f"  {name} " in shown.out for name in command_names())
    assert {"check", "fmt", "graph", "plan", "run", "parity", "show", "runs", "explain", "doctor", "new"} <= set(
        command_names()
    )


def test_the_version_is_printed(cli: Cli) -> None:
    assert cli("--version").out == f"etude {__version__}\n"


COMMANDS = [*command_names(), *(inner for name in command_names() for inner in command_names(name))]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_two_examples(command: str, cli: Cli) -> None:
    shown = cli(*command.split(), "--help")
    assert shown.code == 0
    assert shown.out.startswith(f"usage: etude {command}")
    module = find_command(command)
    assert len(module.EXAMPLES) >= 2
    assert all(line in shown.out and meaning in shown.out for line, meaning in module.EXAMPLES)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help(command: str) -> None:
    module = find_command(command)
    parser = parser_for(command, module.Options, module.__doc__, module.EXAMPLES)
    assert [action.dest for action in parser._actions if not action.help] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_a_command_are_valid(command: str) -> None:
    module = find_command(command)
    parser = parser_for(command, module.Options, module.__doc__, module.EXAMPLES)
    for line, _ in module.EXAMPLES:
        own = line.split("|")[-1].replace('eval "$(', "").removesuffix(')"')
        words = shlex.split(own.split(">")[0])
        assert words[: 1 + len(command.split())] == ["etude", *command.split()]
        parser.parse_intermixed_args(words[1 + len(command.split()) :])


def test_an_unknown_command_gets_a_did_you_mean(cli: Cli) -> None:
    shown = cli("chek")
    assert shown.code == 2
    assert shown.err == "error: there is no command 'chek'\nhint: did you mean 'check'?\n"


def test_an_unknown_command_below_another_gets_a_did_you_mean(cli: Cli) -> None:
    shown = cli("store", "pni")
    assert (shown.code, shown.err) == (2, "error: there is no command 'store pni'\nhint: did you mean 'store pin'?\n")


def test_an_unknown_option_gets_a_did_you_mean(cli: Cli) -> None:
    shown = cli("check", "a.etude", "--formt", "json")
    assert shown.code == 2
    assert "hint: did you mean '--format'?" in shown.err


def test_a_missing_argument_says_where_help_is(cli: Cli) -> None:
    shown = cli("graph")
    assert shown.code == 2
    assert "hint: see `etude graph --help`" in shown.err


def test_options_may_stand_between_files(cli: Cli, folder: Path) -> None:
    (folder / "b.etude").write_text("x = 1\n")
    assert cli("check", "host.etude", "--format", "text", "b.etude").code == 0


def test_an_error_of_our_own_is_one_paragraph_and_a_file(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(options: object) -> int:
        raise ZeroDivisionError("secret")

    (folder / ".etude").mkdir()
    monkeypatch.setattr(find_command("runs"), "run", broken)
    shown = cli("runs")
    assert shown.code == faults.OUR_FAULT
    assert "Traceback" not in shown.err
    assert "InternalError: etude itself failed (ZeroDivisionError)" in shown.err
    (kept,) = (folder / ".etude").glob("etude-fault-*.txt")
    assert str(kept.name) in shown.err
    assert "ZeroDivisionError: secret" in kept.read_text()
    assert "etude runs" in kept.read_text()


def test_an_interrupt_ends_with_its_own_code(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(find_command("runs"), "run", stopped)
    shown = cli("runs")
    assert shown.code == 130
    assert "what was finished is kept" in shown.err


def test_errors_of_the_world_are_found_by_their_class() -> None:
    for name in faults.WORLD:
        module, _, kind = name.rpartition(".")
        __import__(module)
        assert issubclass(getattr(sys.modules[module], kind), Exception)
    assert faults.world_fault(OSError("the disk is full")) == faults.STAGE_FAILED
    assert faults.world_fault(PermissionError("no")) == faults.WRONG_USE
    assert faults.world_fault(ValueError("ours")) is None


def test_colour_needs_a_terminal_and_no_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    from etude.runtime.cli.terminal import paint_for

    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    terminal: Any = Terminal()
    assert paint_for(terminal).enabled
    monkeypatch.setenv("NO_COLOR", "1")
    assert not paint_for(terminal).enabled
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not paint_for(terminal).enabled
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert paint_for(terminal).enabled


def test_a_closed_pipe_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m etude explain | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("E101")
    assert done.stderr == ""


def test_main_reads_the_arguments_of_the_process(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setattr(sys, "argv", ["etude", "--version"])
    assert main() == 0


def test_a_command_has_room_for_calls_that_go_deep() -> None:
    def depth(left: int) -> int:
        return 1 + depth(left - 1) if left else 0

    assert with_room(lambda: depth(500)) == 500


def test_a_recipe_in_the_place_of_a_command_is_told_the_commands(cli: Cli) -> None:
    assert cli("a.etude").err.endswith("hint: did you mean 'etude run a.etude', or 'etude check a.etude'?\n")


def test_errors_of_the_operating_system_have_no_numbers(cli: Cli, folder: Path) -> None:
    (folder / "file").write_text("")
    shown = cli("plan", "host.etude", "-o", "file/plan.json")
    assert (shown.code, shown.err) == (2, "error: file: file exists\n")
    assert cli("plan", "host.etude", "-o", "new/plan.json").code == 0
