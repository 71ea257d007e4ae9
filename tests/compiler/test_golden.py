"""Every refused recipe of `golden/` gives exactly the text beside it; those of `accepted/` compile without a word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from etude.compiler.render.text import render_text
from etude.runtime.compiling import compile_text

FOLDER = Path(__file__).parent
GOLDEN = sorted((FOLDER / "golden").glob("*.etude"))
ACCEPTED = sorted((FOLDER / "accepted").glob("*.etude"))


def messages(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `etude check` would print for a recipe, run in its folder."""
    monkeypatch.chdir(path.parent)
    return render_text(compile_text(path.read_text(), path.name, Path()).diagnostics)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_refused_recipe_says_exactly_what_is_wrong(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = path.with_suffix(".txt")
    text = messages(path, monkeypatch)
    if os.environ.get("ETUDE_ACCEPT"):
        expected.write_text(text)
    assert text == expected.read_text()


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_a_good_recipe_is_accepted_without_a_word(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert messages(path, monkeypatch) == ""
