"""`etude check` and `etude fmt`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
HEAVY = ("torch", "jax", "numpy", "networkx", "pydantic", "rich", "graphviz", "typer", "lark", "interegular")


def test_a_good_recipe_is_told_so(cli: Cli, folder: Path) -> None:
    shown = cli("check", "host.etude")
    assert (shown.code, shown.out, shown.err) == (0, "host.etude: no problems, 7 stages\n", "")


def test_a_wrong_recipe_exits_1_with_a_caret_and_a_hint(cli: Cli, folder: Path) -> None:
    (folder / "wrong.etude").write_text('digits = load("sklearn:digits")\nnet = flaten >> linear(10)\n')
    shown = cli("check", "wrong.etude")
    assert shown.code == 1
    assert "error[E201]: unknown name 'flaten'\n --> wrong.etude:2:7\n" in shown.out
    assert shown.out.endswith("wrong.etude: 1 error\n")


def test_a_warning_does_not_fail(cli: Cli, folder: Path) -> None:
    (folder / "warned.etude").write_text("double = x => 2 * x\nb = double\n(1 + 2)\n")
    shown = cli("check", "warned.etude")
    assert shown.code == 0
    assert "warning[W101]" in shown.out


def test_json_lists_files_and_diagnostics_in_order(cli: Cli, folder: Path) -> None:
    (folder / "a.etude").write_text("x = oops\ny = ooops\n")
    (folder / "b.etude").write_text("z = 1 +\n")
    shown = cli("check", "b.etude", "a.etude", "--format", "json")
    assert shown.code == 1
    assert shown.json["files"] == ["b.etude", "a.etude"]
    found = [(each["file"], each["line"], each["code"]) for each in shown.json["diagnostics"]]
    assert found == [("a.etude", 1, "E201"), ("a.etude", 2, "E201"), ("b.etude", 1, "E101")]


def test_sarif_is_one_object_with_the_titles_of_codes(cli: Cli, folder: Path) -> None:
    (folder / "a.etude").write_text("x = oops\n")
    (run,) = cli("check", "a.etude", "--format", "sarif").json["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["shortDescription"]["text"] == "a name that nothing defines"


def test_fixes_are_applied_and_checked_again(cli: Cli, folder: Path) -> None:
    (folder / "a.etude").write_text("net = flaten >> linear(10)\nother = flaten >> lineer(10)\n")
    shown = cli("check", "a.etude", "--fix")
    assert shown.code == 0
    assert (folder / "a.etude").read_text() == "net = flatten >> linear(10)\nother = flatten >> linear(10)\n"


def test_standard_input_can_be_checked(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("x = oops\n"))
    shown = cli("check", "-")
    assert shown.code == 1
    assert " --> <stdin>:1:5\n" in shown.out


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent.etude", "there is no file absent.etude"), (".", "cannot read .: Is a directory")],
)
def test_a_file_that_cannot_be_read_is_a_wrong_use(cli: Cli, folder: Path, name: str, message: str) -> None:
    shown = cli("check", name)
    assert shown.code == 2
    assert message in shown.err


def test_a_misspelt_file_gets_the_nearest_one(cli: Cli, folder: Path) -> None:
    assert "hint: did you mean host.etude?" in cli("check", "hots.etude").err


def test_a_binary_file_is_refused(cli: Cli, folder: Path) -> None:
    (folder / "binary.etude").write_bytes(b"\xff\xfe\x00")
    assert "binary.etude is not UTF-8 text (byte 0)" in cli("check", "binary.etude").err


def test_params_are_set_and_checked(cli: Cli, folder: Path) -> None:
    assert cli("check", "host.etude", "--set", "share=20%").code == 0
    assert cli("check", "host.etude", "--set", "share").code == 2


@pytest.mark.parametrize("setting", ["share=200%", "share=(", "shares=20%"])
def test_a_param_that_is_set_wrongly_is_wrong_use_of_the_command(cli: Cli, folder: Path, setting: str) -> None:
    shown = cli("check", "host.etude", "--set", setting)
    assert shown.code == 2
    assert "E307" in shown.out
    assert cli("plan", "host.etude", "--set", setting).code == 2
    (folder / "wrong.etude").write_text((folder / "host.etude").read_text() + "more = nothing\n")
    assert cli("check", "wrong.etude", "--set", setting).code == 1


def test_a_default_that_does_not_fit_is_a_mistake_of_the_recipe(cli: Cli, folder: Path) -> None:
    (folder / "wrong.etude").write_text("param share: fraction = 150% in 1%..100%\nparam width: int = 3\n")
    assert cli("check", "wrong.etude").code == 1
    assert cli("check", "wrong.etude", "--set", "width=4").code == 1


def test_a_limit_on_stages_is_kept(cli: Cli, folder: Path) -> None:
    assert cli("check", "host.etude", "--max-stages", "7").code == 0
    assert "E403" in cli("check", "host.etude", "--max-stages", "3").out


@pytest.mark.parametrize(
    ("view", "text"),
    [
        ("tree", "Binding(name='few')"),
        ("types", "few    Dataset[{x: float32[], label: label(2)}]"),
        ("graph", "few "),
        ("program", "# means.few: each row"),
        ("plan", "7 to run, 0 cached on torch on cpu"),
        ("source", "def rows("),
    ],
)
def test_every_phase_can_be_seen(cli: Cli, folder: Path, view: str, text: str) -> None:
    shown = cli("check", "host.etude", "--show", view)
    assert shown.code == 0
    assert text in shown.out
    assert shown.err == "host.etude: no problems, 7 stages\n"


def test_weights_are_shown_with_who_learns(cli: Cli, folder: Path) -> None:
    (folder / "net.etude").write_text(
        'digits = load("sklearn:digits")\n'
        "teacher = finetune(flatten >> linear(10), on = digits)\n"
        "student = distill(teacher, into = flatten >> linear(10), on = digits)\n"
    )
    lines = cli("check", "net.etude", "--show", "weights").out.splitlines()
    student = lines[lines.index("student") :]
    assert any(line.split()[0] == "learns" and "2 tensors, 650 numbers" in line for line in student)
    assert any(line.split()[0] == "frozen" and "as trained by teacher" in line for line in student)


def test_weights_come_as_data(cli: Cli, folder: Path) -> None:
    (folder / "net.etude").write_text(
        'digits = load("sklearn:digits")\n'
        "net = finetune(flatten >> linear(10), on = digits)\n"
        "t = train(on = digits, update = net) { loss = (x, y) => kd(net(x), start(net)(x)) }\n"
    )
    found = json.loads(cli("check", "net.etude", "--show", "weights", "--stage", "t", "--format", "json").out)[
        "weights"
    ]
    (player,) = found
    assert (player["stage"], player["player"]) == ("t", "net")
    assert [(row["state"], row["numbers"], row["value"]) for row in player["weights"]] == [
        ("learns", 650, "as trained by net"),
        ("frozen", 650, "as trained by net"),
    ]
    assert player["weights"][1]["why"] == "as it was when the training began"


def test_checking_loads_nothing_heavy(folder: Path) -> None:
    program = (
        "import sys\nfrom etude.runtime.cli.main import main\n"
        "code = main(['check', 'host.etude'])\n"
        f"print(code, *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder)
    assert done.stdout.splitlines()[-1] == "0"


def test_fmt_formats_in_place_and_keeps_comments(cli: Cli, folder: Path) -> None:
    file = folder / "a.etude"
    file.write_text("x=1 # one\n")
    assert cli("fmt", "--check", "a.etude").code == 1
    assert file.read_text() == "x=1 # one\n"
    shown = cli("fmt", "a.etude")
    assert (shown.code, shown.out) == (0, "formatted a.etude\n")
    assert file.read_text() == "x = 1  # one\n"
    assert cli("fmt", "--check", "a.etude").code == 0
    assert cli("fmt", "a.etude").out == ""


def test_fmt_writes_standard_input_to_standard_output(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("x=1"))
    assert cli("fmt", "-").out == "x = 1\n"


def test_fmt_of_a_wrong_recipe_shows_the_mistake_and_leaves_it_alone(cli: Cli, folder: Path) -> None:
    file = folder / "a.etude"
    file.write_text("x = 1 +\n")
    shown = cli("fmt", "a.etude")
    assert shown.code == 1
    assert "error[E101]" in shown.err
    assert file.read_text() == "x = 1 +\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "few"], "--stage goes with --show"),
        (["--show", "types", "--format", "sarif"], "SARIF has no place for what --show prints"),
        (["--max-stages", "0"], "--max-stages: expected a number from 1 on, got 0"),
        (["--max-stages", "many"], "--max-stages: expected a whole number, got 'many'"),
        (["--allow", "all"], "expected external or plugin:NAME, got 'all'"),
        (["--allow", "plugin:"], "expected external or plugin:NAME, got 'plugin:'"),
    ],
)
def test_options_that_nothing_would_read_are_refused(
    cli: Cli, folder: Path, arguments: list[str], message: str
) -> None:
    shown = cli("check", "host.etude", *arguments)
    assert (shown.code, message in shown.err) == (2, True)


def test_what_a_phase_made_is_in_the_json(cli: Cli, folder: Path) -> None:
    found = cli("check", "host.etude", "--show", "types", "--format", "json").json
    assert found["shown"]["host.etude"] == cli("check", "host.etude", "--show", "types").out


def test_types_of_chains_and_of_trees(cli: Cli, folder: Path) -> None:
    text = """
    digits = load("sklearn:digits")
    body   = mlp([4])
    net    = finetune(flatten >> body >> (x => 2 * x) >> linear(10), on = digits, budget = 1epochs)
    held   = weights(net)
    """
    (folder / "chain.etude").write_text(text)
    shown = cli("check", "chain.etude", "--show", "types").out
    found = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert found["body"] == "a model: float32[b, 64] -> float32[b, 4]"
    assert found["net"] == (
        "a chain of flatten, body: float32[b, 64] -> float32[b, 4], a function, linear: float32[b, 4] -> float32[b, 10]"
    )
    assert found["held"] == (
        "a tree: body.layers.0.w float32[64, 4], body.layers.0.b float32[4], 3.w float32[4, 10], 3.b float32[10]"
    )
