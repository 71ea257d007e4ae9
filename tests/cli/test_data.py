"""`etude data`: what a source holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from etude.runtime.cli import faults

Cli = Callable[..., Any]


def test_a_file_is_shown_with_columns_counts_and_rows(cli: Cli, folder: Path) -> None:
    shown = cli("data", "numbers.csv", "--rows", "2")
    assert shown.code == 0
    assert shown.out == (
        "numbers.csv: 40 rows, for train\n"
        "\n"
        "  x      float32[]          0 to 19.5, mean 9.75\n"
        "  label  label(2)   target  2 classes\n"
        "\n"
        "  label\n"
        "    0  ████████████████████████  20\n"
        "    1  ████████████████████████  20\n"
        "\n"
        "  row 0  x = 0  label = 0\n"
        "  row 1  x = 0.5  label = 1\n"
    )


def test_options_of_load_are_given_with_their_values(cli: Cli, folder: Path) -> None:
    found = cli("data", "numbers.csv", "--with", 'classes=["no", "yes"]', "--with", "role=test", "--json").json
    assert found["role"] == "test" and found["rows"] == 40
    assert found["columns"][1] == {
        "name": "label", "type": "label(2)", "target": True, "classes": 2, "class_names": ["no", "yes"],
    }  # fmt: skip
    assert found["statistics"]["label"] == {"counts": {"no": 20, "yes": 20}}
    assert found["statistics"]["x"] == {"least_value": 0.0, "largest_value": 19.5, "mean_value": 9.75}
    assert found["sample"][1] == {"x": 0.5, "label": "yes"} and len(found["sample"]) == 5


def test_pictures_are_drawn(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pictures").mkdir()
    pixels = np.zeros((4, 4), np.uint8)
    pixels[:2, :2] = 255
    Image.fromarray(pixels).save(folder / "pictures/a.png")
    assert cli("data", "pictures/").out.endswith("\n\n  ██\n\n")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[38;2;255;255;255;48;2;255;255;255m▀\x1b[0m" in cli("data", "pictures/").out


def test_only_the_columns_are_shown_without_reading_the_data(cli: Cli, folder: Path) -> None:
    (folder / "numbers.csv").write_text("x\n" + "1\n" * 2000 + "broken\n")
    assert cli("data", "numbers.csv", "--schema").out == "numbers.csv: rows not counted, for train\n\n  x  int32[]\n"
    shown = cli("data", "numbers.csv")
    assert shown.code == faults.WRONG_USE and 'numbers.csv:2002: column "x"' in shown.err


def test_texts_and_multi_labels_are_shown_short(cli: Cli, folder: Path) -> None:
    (folder / "notes.jsonl").write_text(
        '{"t": "a\\nb", "tags": ["x", "y"]}\n{"t": "' + "long " * 20 + '", "tags": []}\n'
    )
    shown = cli("data", "notes.jsonl", "--with", 'types={"tags": "labels"}').out
    assert '  row 0  t = "a⏎b"  tags = [x, y]\n' in shown
    assert f'  row 1  t = "{"long " * 8}.."  tags = []\n' in shown
    assert "    x  ████████████████████████  1\n" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["numbers.cvs"], faults.WRONG_USE, 'did you mean "csv"?'),
        (["numbers.csv", "--with", "label"], faults.WRONG_USE, "expected NAME=VALUE, got 'label'"),
        (["numbers.csv", "--with", "labl=x"], faults.WRONG_USE, 'did you mean "label"?'),
        (["nowhere/"], faults.WRONG_USE, 'no folder is called "nowhere"'),
        (["numbers.csv", "--rows", "-1"], faults.WRONG_USE, "expected a number from 0 on, got -1"),
    ],
)
def test_what_cannot_be_shown_is_refused(arguments: list[str], code: int, message: str, cli: Cli, folder: Path) -> None:
    shown = cli("data", *arguments)
    assert shown.code == code and message in shown.err


def test_the_parts_of_a_folder_are_named(cli: Cli, folder: Path) -> None:
    for part in ("train", "test"):
        (folder / "pictures" / part / "a").mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "pictures" / part / "a/1.png")
    assert cli("data", "pictures", "--schema").out.splitlines()[0].endswith(", in the parts train, test")
    assert cli("data", "pictures", "--json").json["splits"] == ["train", "test"]
    assert "splits" not in cli("data", "numbers.csv", "--json").json
