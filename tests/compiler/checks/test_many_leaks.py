"""Leaks of many kinds, each refused with its way drawn, and recipes that come near to one and are not refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from etude.compiler.diagnostics import Diagnostic
from etude.runtime.compiling import compile_text

FOLDER = Path(__file__).parent / "leaks"


def cases(name: str) -> dict[str, tuple[set[str], str]]:
    """The recipes of a file by their titles, with the codes that are to be told: `### title | codes`."""
    head, *parts = (FOLDER / f"{name}.etude.txt").read_text().split("### ")
    found = {}
    for part in parts:
        line, _, text = part.partition("\n")
        title, _, codes = line.partition("|")
        assert title.strip() not in found
        found[title.strip()] = set(codes.split()), head + text
    return found


LEAKS, NEAR_MISSES = cases("leaks"), cases("near_misses")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the recipes load."""
    path = tmp_path_factory.mktemp("data")
    rows = [f"0.{i},0.{i + 1},2024-{1 + i // 10:02d}-{1 + i % 10:02d},u{i % 7},{'ab'[i % 2]}" for i in range(40)]
    for name in ("here", "there"):
        (path / f"{name}.csv").write_text("\n".join(["x1,x2,when,user,label", *rows]) + "\n")
    talk = [{"text": f"the cat sat on mat {i}", "label": "ab"[i % 2], "user": i % 7} for i in range(40)]
    (path / "talk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in talk))
    return path


def told(text: str, folder: Path) -> list[Diagnostic]:
    return list(compile_text(text, "test.etude", folder, allowed={"external"}).diagnostics)


@pytest.mark.parametrize("title", LEAKS)
def test_a_leak_is_refused_and_its_way_drawn(title: str, folder: Path) -> None:
    codes, text = LEAKS[title]
    found = told(text, folder)
    assert {each.code for each in found} == codes
    assert all(" -> " in each.message for each in found if each.code != "E504")


@pytest.mark.parametrize("title", NEAR_MISSES)
def test_what_only_looks_like_a_leak_is_not_refused(title: str, folder: Path) -> None:
    codes, text = NEAR_MISSES[title]
    assert {each.code for each in told(text, folder)} == codes <= {"W501"}
