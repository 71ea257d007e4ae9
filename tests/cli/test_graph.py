"""`etude graph`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
NET = """digits = load("sklearn:digits")
nets = [finetune(flatten >> linear(10), on = digits, seed = s) for s in 1..3]
"""


@pytest.fixture
def net(folder: Path) -> Path:
    (folder / "net.etude").write_text(NET)
    return folder


def test_without_a_file_the_stages_are_a_tree(cli: Cli, folder: Path) -> None:
    shown = cli("graph", "host.etude")
    assert shown.code == 0
    assert shown.out.splitlines()[0] == "host"
    assert "└─ report" in shown.out


def test_the_suffix_decides_on_the_format(cli: Cli, folder: Path) -> None:
    for name, start in [("g.dot", "digraph"), ("g.mmd", "flowchart"), ("g.html", "<!doctype"), ("out/g.json", "{")]:
        shown = cli("graph", "host.etude", "-o", name)
        assert (shown.code, shown.err) == (0, f"wrote {name}\n")
        assert (folder / name).read_text().startswith(start)


def test_a_format_can_be_written_to_standard_output(cli: Cli, folder: Path) -> None:
    assert {"nodes", "edges"} <= cli("graph", "host.etude", "--format", "json").json.keys()
    assert cli("graph", "host.etude", "--format", "mmd").out.startswith("flowchart")


def test_an_unknown_suffix_names_those_there_are(cli: Cli, folder: Path) -> None:
    shown = cli("graph", "host.etude", "-o", "g.gif")
    assert shown.code == 2
    assert "hint: the suffixes are .svg, .png" in shown.err


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs the dot program")
def test_a_png_is_drawn(cli: Cli, net: Path) -> None:
    assert cli("graph", "net.etude", "-o", "g.png").code == 0
    assert (net / "g.png").read_bytes().startswith(b"\x89PNG")


def test_without_dot_a_png_is_refused_with_a_way_out(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    shown = cli("graph", "host.etude", "-o", "g.png")
    assert shown.code == 2
    assert "needs the program `dot`" in shown.err
    assert "hint: install graphviz" in shown.err
    assert cli("graph", "host.etude", "-o", "g.html").code == 0


def test_repeated_stages_are_one_unless_expanded(cli: Cli, net: Path) -> None:
    assert "\u00d73" in cli("graph", "net.etude").out
    assert "\u00d73" not in cli("graph", "net.etude", "--expand").out
    assert cli("graph", "net.etude", "--expand").out.count("train · ") == 3


def test_a_step_is_drawn_by_the_name_of_its_stage(cli: Cli, net: Path) -> None:
    for name in ("nets[s=2]", "nets", "ne*"):
        shown = cli("graph", "net.etude", "--level", "step", "--stage", name)
        assert shown.code == 0
        assert "cross_entropy" in shown.out
        assert "learns" in shown.out


def test_a_step_needs_a_stage_with_a_program(cli: Cli, net: Path) -> None:
    assert "--level step needs --stage NAME" in cli("graph", "net.etude", "--level", "step").err
    shown = cli("graph", "net.etude", "--level", "step", "--stage", "digits")
    assert shown.code == 2
    assert "has no tensor program" not in shown.out
    assert "is a load: it has no tensor program to draw" in shown.err


def test_an_unknown_stage_gets_the_nearest_name(cli: Cli, net: Path) -> None:
    shown = cli("graph", "net.etude", "--level", "step", "--stage", "nest")
    assert shown.code == 2
    assert "hint: did you mean 'nets'?" in shown.err


def test_drawing_makes_no_store(cli: Cli, folder: Path) -> None:
    cli("graph", "host.etude")
    cli("plan", "host.etude")
    assert not (folder / ".etude").exists()


def test_a_wrong_recipe_is_not_drawn(cli: Cli, folder: Path) -> None:
    (folder / "wrong.etude").write_text("x = oops\n")
    shown = cli("graph", "wrong.etude", "-o", "g.svg")
    assert shown.code == 1
    assert "error[E201]" in shown.err
    assert not (folder / "g.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "few"], "--stage goes with --level step"),
        (["--format", "json", "-o", "x.svg"], "'x.svg' is no name for a drawing in json"),
        (["--target", "pod"], "there is no target 'pod'"),
    ],
)
def test_options_that_say_nothing_or_two_things_are_refused(
    cli: Cli, folder: Path, arguments: list[str], message: str
) -> None:
    shown = cli("graph", "host.etude", *arguments)
    assert (shown.code, message in shown.err) == (2, True)
    assert not (folder / "x.svg").exists()
