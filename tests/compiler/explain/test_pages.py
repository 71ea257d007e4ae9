"""Every diagnostic has its page, and the examples on it do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from etude.compiler.explain import codes, explanation, headline
from etude.runtime.compiling import compile_text

ROOT = Path(__file__).parents[3]
CODE = re.compile(r"\"([EW][1-9]\d\d)\"")
BLOCK = re.compile(r"^```(\S+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def raised() -> set[str]:
    files = [file for layer in ("grammar", "compiler", "runtime/targets") for file in (ROOT / layer).rglob("*.py")]
    return {code for file in files for code in CODE.findall(file.read_text())}


def examples(code: str) -> list[tuple[str, str, str]]:
    """(language, expected code or "", text) of the blocks of a page."""
    return BLOCK.findall(explanation(code) or "")


def found(text: str, folder: Path) -> set[str]:
    return {diagnostic.code for diagnostic in compile_text(text, "example.etude", folder).diagnostics}


def test_every_code_that_is_raised_is_explained_and_no_other() -> None:
    assert set(codes()) == raised()


@pytest.mark.parametrize("code", codes())
def test_a_page_has_a_title_a_story_a_wrong_and_a_right_example(code: str) -> None:
    text = explanation(code)
    assert text is not None
    assert text.startswith(f"# {code}: ")
    assert headline(code)
    assert len(text.split("## Wrong")[0].split()) > 25
    assert [heading for heading in text.splitlines() if heading.startswith("## ")] == ["## Wrong", "## Right"]
    assert max(map(len, re.sub(BLOCK, "", text).splitlines())) <= 120


@pytest.mark.parametrize("code", codes())
def test_the_examples_of_a_page_are_true(code: str, tmp_path: Path) -> None:
    blocks = examples(code)
    assert len(blocks) == 2
    if {language for language, _, _ in blocks} == {"text"}:
        pytest.skip("the example is about several files, or none that is a recipe")
    assert [expected for _, expected, _ in blocks] == [code, ""]
    wrong, right = (text for _, _, text in blocks)
    assert found(wrong, tmp_path) == {code}
    assert found(right, tmp_path) == set()


def test_an_unknown_code_has_no_page() -> None:
    assert explanation("E999") is None
    assert explanation("../render/text") is None
    assert headline("E999") is None
