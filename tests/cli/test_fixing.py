"""`etude check --fix`: what is certain is mended, everything else is left alone."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
DIGITS = 'digits = load("sklearn:digits") |> split(train = 80%, test = 20%)\n'
MENDED = [
    ("a = true && false", "a = true and false"),
    ("a = true || false", "a = true or false"),
    ("a = !true", "a = not true"),
    ("a = 1;", "a = 1"),
    ("a = 3 \N{MULTIPLICATION SIGN} 4", "a = 3 * 4"),
    ("a = 3 \N{LESS-THAN OR EQUAL TO} 4", "a = 3 <= 4"),
    ("a = 3 \N{MINUS SIGN} 4", "a = 3 - 4"),
    ("a = 'text'", 'a = "text"'),
    ("a = \N{LEFT DOUBLE QUOTATION MARK}text\N{RIGHT DOUBLE QUOTATION MARK}", 'a = "text"'),
    ('a = "c:\\data"', 'a = "c:\\\\data"'),
    ("a = True", "a = true"),
    ("a = None", "a = none"),
    ("a = .5", "a = 0.5"),
    ("a = 3 <> 4", "a = 3 != 4"),
    ("a = 3 === 4", "a = 3 == 4"),
    ("a == 3", "a = 3"),
    ("a := 3", "a = 3"),
    ("let a = 3", "a = 3"),
    ("a = 1 // a comment\nb = 2", None),
    ("// a comment\na = 1", "# a comment\na = 1"),
    ("a = if 1 = 2 then 3 else 4", "a = if 1 == 2 then 3 else 4"),
    ("a = if true then 1 elif false then 2 else 3", "a = if true then 1 else if false then 2 else 3"),
    ("a = 1 < 2 < 3", "a = 1 < 2 and 2 < 3"),
    ("a = 1 < 2 + 3 * 4 <= 30", "a = 1 < 2 + 3 * 4 and 2 + 3 * 4 <= 30"),
    ("a = not 1 < 2 < 3", None),
    ("f (x) => x + 1", "f = (x) => x + 1"),
    ("f(x) => x + 1", "f = (x) => x + 1"),
    ("f = x -> x + 1", "f = x => x + 1"),
    ("f = {a, b} => a", "f = ({a, b}) => a"),
    ("fn f(x) { x + 1 }", "fn f(x) { return x + 1 }"),
    ("a = {x = 1, y = 2}", "a = {x: 1, y: 2}"),
    ('a = {"x": 1, y: 2}', "a = {x: 1, y: 2}"),
    ("a = [1 2, 3]", "a = [1, 2, 3]"),
    ("a = [1, 2\nb = 3", "a = [1, 2]\nb = 3"),
    ("a = mean([1, 2)\nb = 3", "a = mean([1, 2])\nb = 3"),
    ("a = (1 + 2]", "a = (1 + 2)"),
    ("model = 3\nb = model + 1", "model_ = 3\nb = model_ + 1"),
    ("import std.vision", "use std.vision"),
    ("use std.visoin", "use std.vision"),
    ("fn half(x) = x / 2\na = [4] |> half", "fn half(x) = x / 2\na = [4] |> half()"),
    ("a = 3epoch\nb = 5 + 2min", None),
    ("a = 90minutes", "a = 90min"),
    ("a = 3kk", None),
    ("half = x => x / 2\na = hlaf(4)", "half = x => x / 2\na = half(4)"),
    ("a = {left: 1}\nb = a.letf", "a = {left: 1}\nb = a.left"),
    ("net1 = linear(3)\na = net2", None),
    ("x = 3\na = y", None),
    ("a = linear(units = 3)", "a = linear(out = 3)"),
]


@pytest.mark.parametrize(("wrong", "right"), MENDED)
def test_what_is_certain_is_mended_and_nothing_else(cli: Cli, folder: Path, wrong: str, right: str | None) -> None:
    file = folder / "a.etude"
    file.write_text(wrong + "\n", encoding="utf-8")
    cli("check", "a.etude", "--fix")
    assert file.read_text(encoding="utf-8") == f"{wrong if right is None else right}\n"


def test_names_of_arguments_columns_and_parts_are_mended(cli: Cli, folder: Path) -> None:
    file = folder / "a.etude"
    file.write_text(
        f"{DIGITS}net = flaten >> linear(10)  # a classifier\n"
        "m = finetune(net, on = digits.trian, batch_size = 32, optimiser = adamw(learning_rate = 1e-3))\n"
        "s = measure(digits.test, row => row.lable)\n"
    )
    shown = cli("check", "a.etude", "--fix")
    assert shown.code == 0
    assert file.read_text() == (
        f"{DIGITS}net = flatten >> linear(10)  # a classifier\n"
        "m = finetune(net, on = digits.train, batch = 32, optimizer = adamw(lr = 1e-3))\n"
        "s = measure(digits.test, row => row.label)\n"
    )
    assert "fixed a.etude:2:7: replace 'flaten' by 'flatten'\n" in shown.out


def test_mistakes_of_every_phase_are_mended_one_after_another(cli: Cli, folder: Path) -> None:
    file = folder / "a.etude"
    file.write_text("a = 1;\nb = hlaf(a) && true  # both\nhalf = x => x > 1 > 0\n")
    assert cli("check", "a.etude", "--fix").code == 0
    assert file.read_text() == "a = 1\nb = half(a) and true  # both\nhalf = x => x > 1 and 1 > 0\n"


def test_a_file_with_other_mistakes_is_mended_where_that_is_safe(cli: Cli, folder: Path) -> None:
    file = folder / "a.etude"
    file.write_text("a = 1;\nb = 1 +* 2\nc = 'x'\n")
    shown = cli("check", "a.etude", "--fix")
    assert shown.code == 1
    assert file.read_text() == 'a = 1\nb = 1 +* 2\nc = "x"\n'
    assert shown.out.endswith("a.etude: 1 error\n")


def test_a_fix_that_makes_nothing_better_is_left_out(cli: Cli, folder: Path) -> None:
    file = folder / "a.etude"
    text = "a = [1, 2 + (3\nb = {c: (4\nd = 5 )]\n"
    file.write_text(text)
    assert cli("check", "a.etude", "--fix").code == 1
    assert file.read_text() == text


def test_many_mistakes_are_mended_in_one_go(cli: Cli, folder: Path) -> None:
    file = folder / "a.etude"
    file.write_text("".join(f"a{i} = {i};\n" for i in range(100)))
    assert cli("check", "a.etude", "--fix").code == 0
    assert file.read_text() == "".join(f"a{i} = {i}\n" for i in range(100))


def test_the_difference_can_be_shown_without_writing(cli: Cli, folder: Path) -> None:
    file = folder / "a.etude"
    file.write_text("a = 1;\n")
    shown = cli("check", "a.etude", "--fix", "--diff")
    assert shown.code == 1
    assert shown.out == "--- a.etude\n+++ a.etude\n@@ -1 +1 @@\n-a = 1;\n+a = 1\n"
    assert file.read_text() == "a = 1;\n"


def test_programs_are_told_what_was_fixed(cli: Cli, folder: Path) -> None:
    (folder / "a.etude").write_text("a = 1;\n")
    told = cli("check", "a.etude", "--fix", "--diff", "--format", "json").json
    assert (told["fixed"], len(told["diagnostics"])) == ([], 1)
    assert told["diff"].endswith("-a = 1;\n+a = 1\n")
    told = cli("check", "a.etude", "--fix", "--format", "json").json
    assert told["diagnostics"] == []
    assert told["fixed"] == [{"file": "a.etude", "line": 1, "column": 6, "code": "E104", "title": "remove `;`"}]


def test_sarif_has_the_fixes_of_syntax(cli: Cli, folder: Path) -> None:
    (folder / "a.etude").write_text("a = 1;\n")
    (run,) = cli("check", "a.etude", "--format", "sarif").json["runs"]
    (fix,) = run["results"][0]["fixes"]
    (replacement,) = fix["artifactChanges"][0]["replacements"]
    assert replacement["insertedContent"]["text"] == ""
    assert replacement["deletedRegion"]["charOffset"] == 5


def test_line_ends_links_and_permissions_stay(cli: Cli, folder: Path) -> None:
    file = folder / "a.etude"
    file.write_bytes(b"a = 1;\r\n# two\r\nb = 2\r\n")
    file.chmod(0o640)
    (folder / "link.etude").symlink_to(file)
    assert cli("check", "link.etude", "--fix").code == 0
    assert file.read_bytes() == b"a = 1\r\n# two\r\nb = 2\r\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (folder / "link.etude").is_symlink()
    assert sorted(path.name for path in folder.iterdir()) == ["a.etude", "host.etude", "link.etude", "numbers.csv"]


def test_standard_input_is_only_compared(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("a = 1;\n"))
    assert "+a = 1\n" in cli("check", "-", "--fix", "--diff").out
    assert cli("check", "-", "--fix").code == 2
    assert "write --fix --diff" in cli("check", "host.etude", "--diff").err
