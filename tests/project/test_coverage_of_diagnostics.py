"""Every diagnostic code has a golden recipe that provokes it, or a golden `etude.toml`, and an explanation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "compiler" / "golden"
TARGETS = ROOT / "tests" / "runtime" / "targets" / "golden"
CODE = re.compile(r"[EW][1-9]\d\d")


def codes_in(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (code, file:line) for every string literal in a folder's Python that is a diagnostic code."""
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                yield node.value, f"{file.relative_to(ROOT)}:{node.lineno}"


def raised_codes() -> dict[str, str]:
    """Return each code that the grammar or the compiler raises, with one place that does."""
    return {code: place for part in ("grammar", "compiler") for code, place in codes_in(ROOT / part)}


def test_the_grammar_and_the_compiler_raise_codes() -> None:
    codes = raised_codes()
    assert any(code.startswith("E1") for code in codes)
    assert any(code.startswith("E3") for code in codes)


def test_every_code_has_a_golden_recipe() -> None:
    missing = {code: place for code, place in raised_codes().items() if not list(GOLDEN.glob(f"{code}*.etude"))}
    assert missing == {}


def test_every_code_about_targets_has_a_golden_file() -> None:
    raised = {code for code, _ in codes_in(ROOT / "runtime" / "targets")}
    assert raised
    assert {code for code in raised if not list(TARGETS.glob(f"{code}*.toml"))} == set()
    files = sorted(TARGETS.glob("*.toml"))
    assert [file.name for file in files if file.name[:4] not in file.with_suffix(".txt").read_text()] == []


def test_every_golden_recipe_has_its_expected_text() -> None:
    recipes = sorted(GOLDEN.glob("*.etude"))
    assert recipes
    assert [recipe.name for recipe in recipes if not recipe.with_suffix(".txt").exists()] == []


def test_every_expected_text_shows_the_code_that_its_file_is_named_after() -> None:
    texts = sorted(GOLDEN.glob("*.txt"))
    wrong = [text.name for text in texts if (code := CODE.match(text.name)) and code.group() not in text.read_text()]
    assert texts
    assert wrong == []


def test_no_expected_text_has_lost_its_recipe() -> None:
    assert [text.name for text in GOLDEN.glob("*.txt") if not text.with_suffix(".etude").exists()] == []
