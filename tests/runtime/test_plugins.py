"""Plug-ins: found by entry points, loaded only where the command line allows it, checked by their signatures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etude.compiler.pipeline import Compilation
from etude.runtime.compiling import compile_text
from etude.runtime.runner import run
from etude.runtime.store import Store

MODULE = """
import numpy as np
from pathlib import Path

Path(__file__).with_name("loaded.txt").write_text("x")

def brighter(columns, by: float = 0.5, times: int = 1):
    return {**columns, "image": columns["image"] + by * times}

brighter.returns = lambda columns: {"image": columns["image"], "label": "label(10)"}

def rows(columns):
    return len(columns["label"])

rows.returns = "number"

def wrong(columns):
    return {"z": columns["label"][1:]}

wrong.returns = {"z": "float"}

def broken(columns):
    raise KeyError("mask")

broken.returns = "number"
"""
DIGITS = 'digits = load("sklearn:digits") |> sample(100examples)\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an installed distribution `demo-tools` 1.2, as every process of the test sees it."""
    (tmp_path / "demo_tools.py").write_text(MODULE)
    info = tmp_path / "demo_tools-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: demo-tools\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[etude.plugins]\ndemo = demo_tools\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield tmp_path
    sys.modules.pop("demo_tools", None)


def compiled(text: str, *allowed: str) -> Compilation:
    return compile_text(DIGITS + text, "test.etude", Path(), allowed=allowed)


def messages(text: str, *allowed: str) -> list[str]:
    return [f"{each.code}: {each.message}" for each in compiled(text, *allowed).diagnostics]


def performed(text: str, folder: Path) -> Any:
    workflow = compiled(text, "plugin:demo").workflow
    assert workflow is not None
    return run(workflow, store=Store(folder / "store"), base=folder, jobs=1, backend="torch")


def test_a_plug_in_is_not_even_loaded_unless_it_is_allowed(folder: Path) -> None:
    text = "d = plugin.demo.brighter(digits)"
    assert messages(text) == ["E430: 'plugin.demo' is Python of others, which the command line has not allowed"]
    assert messages(text, "external", "plugin:other")[0].startswith("E430")
    assert not (folder / "loaded.txt").exists()
    assert messages(text, "plugin:demo") == [] and (folder / "loaded.txt").exists()


def test_calls_are_checked_by_the_signature(folder: Path) -> None:
    allowed = "plugin:demo"
    assert messages("d = plugin.demo.brighter(digits, bi = 2.0)", allowed)[0].startswith("E202: 'plugin.demo.brighter'")
    text = "E301: 'times' of 'plugin.demo.brighter': expected an int, got a float"
    assert messages("d = plugin.demo.brighter(digits, times = 1.5)", allowed) == [text]
    assert messages("d = plugin.demo.darker(digits)", allowed) == ["E203: the plug-in 'demo' has no field 'darker'"]
    assert messages("d = plugin.demmo.brighter(digits)", allowed) == ["E313: no plug-in is called 'demmo'"]


def test_a_plug_in_makes_columns_of_the_same_rows_and_numbers(folder: Path) -> None:
    text = """
before = measure(on = digits, row => mean(row.image))
after_ = measure(on = plugin.demo.brighter(digits, by = 0.25, times = 2), row => mean(row.image))
rows   = plugin.demo.rows(digits)
"""
    found = performed(text, folder).metrics
    assert found["after_"] - found["before"] == pytest.approx(0.5, abs=1e-5) and found["rows"] == 100


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong", 'column "z": expected float32[] for each of 100 rows, got the shape [99]'),
        ("broken", "'plugin.demo.broken' failed: KeyError: 'mask'"),
    ],
)
def test_a_plug_in_that_fails_is_one_paragraph(folder: Path, name: str, message: str) -> None:
    text = {
        "wrong": "n = measure(on = plugin.demo.wrong(digits), row => row.z)",
        "broken": "n = plugin.demo.broken(digits)",
    }
    (failed,) = (stage for stage in performed(text[name], folder).failed)
    assert message in failed.failure["message"] and "Traceback" not in failed.failure["message"]


def test_another_version_is_another_result(folder: Path) -> None:
    text = "rows = plugin.demo.rows(digits)"
    first = performed(text, folder)
    info = folder / "demo_tools-1.2.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: demo-tools\nVersion: 1.3\n")
    second = performed(text, folder)
    kinds = [
        {s.name: s.action for s in r.stages.values() if s.kind == "plugin"} for r in (first, performed(text, folder))
    ]
    assert {s.action for s in second.stages.values() if s.kind == "plugin"} == {"run"}
    assert kinds == [{"rows": "run"}, {"rows": "cached"}]


def test_test_labels_do_not_come_through_a_plug_in(folder: Path) -> None:
    text = """
parts = digits |> split(train = 50%, test = 50%)
net   = finetune(flatten >> linear(10), on = plugin.demo.brighter(parts.test))
"""
    assert messages(text, "plugin:demo")[0].startswith("E501: test data reaches training")
