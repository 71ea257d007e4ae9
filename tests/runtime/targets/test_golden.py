"""Every wrong `etude.toml` of `golden/` gives exactly the text beside it; `recipe.etude` is what it is used for.

The first line says which target is asked for, and on which backend.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from etude.compiler.render.text import render_text
from etude.runtime.compiling import compile_text
from etude.runtime.targets import TargetFileError, check_is_read, find_target
from etude.runtime.targets.stages import settings_by_stage

FOLDER = Path(__file__).parent / "golden"
GOLDEN = sorted(FOLDER.glob("*.toml"))
FIRST = re.compile(r"# target: (\S+) on (torch|jax)\n")


def message(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is printed when a recipe beside this `etude.toml` is run on its target."""
    monkeypatch.chdir(folder)
    text = path.read_text()
    (folder / "etude.toml").write_text(text)
    first = FIRST.match(text)
    assert first is not None
    workflow = compile_text((FOLDER / "recipe.etude").read_text(), "recipe.etude", Path()).workflow
    assert workflow is not None
    with pytest.raises(TargetFileError) as caught:
        target = replace(find_target(first[1], folder), backend=first[2])
        check_is_read(target)
        settings_by_stage(target, workflow)
    return render_text(caught.value.diagnostics)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_wrong_file_says_exactly_what_is_wrong(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = path.with_suffix(".txt")
    text = message(path, tmp_path, monkeypatch)
    if os.environ.get("ETUDE_ACCEPT"):
        expected.write_text(text)
    assert text == expected.read_text()
