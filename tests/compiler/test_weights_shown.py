"""`etude check --show weights` of methods in which it matters who learns: exactly the text beside each recipe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from etude.compiler.render.ansi import Paint
from etude.runtime.cli.views import show
from etude.runtime.compiling import compile_text

RECIPES = sorted((Path(__file__).parent / "weights").glob("*.etude"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_weights_of_a_method_are_shown(path: Path, tmp_path: Path) -> None:
    compilation = compile_text(path.read_text(), path.name, tmp_path)
    assert compilation.diagnostics == []
    text = show("weights", compilation, "*", "torch", Paint(False))
    expected = path.with_suffix(".txt")
    if os.environ.get("ETUDE_ACCEPT"):
        expected.write_text(text)
    assert text == expected.read_text()
