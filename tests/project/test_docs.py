"""The manual is true: its recipes check, the wrong ones fail as it says, its commands and links exist.

A fenced `etude` block is checked as a recipe. What it needs but a reader does not have to see stands in a comment right
before it, `<!-- etude` to `-->`. A block fenced as `etude E304` must fail with exactly that code.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from etude.compiler.builtins import library_names
from etude.runtime import sources
from etude.runtime.cli.main import command_names

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPE = re.compile(
    r"(?:<!-- etude\n(?P<before>(?:(?!-->).)*)-->\n\n?)?^```etude(?: (?P<code>[EW]\d{3}))?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Snippet:
    """A recipe in a page: its text with what was hidden before it, and the code that it must fail with, if any."""

    page: Path
    line: int
    text: str
    code: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def snippets() -> list[Snippet]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in RECIPE.finditer(text):
            line = text.count("\n", 0, match.start("text")) + 1
            found.append(Snippet(page, line, (match["before"] or "") + match["text"], match["code"]))
    return found


def commands() -> list[tuple[str, str]]:
    """Return (place, command line) of every line in the pages' shell blocks, comments and continuations taken out."""
    found = []
    for page in PAGES:
        for block in SHELL.findall(page.read_text()):
            joined = block.replace("\\\n", " ")
            found += [(page.name, line) for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return found


@functools.cache
def help_of(*command: str) -> str | None:
    """Return what `etude COMMAND --help` prints, or nothing when there is no such command."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    arguments = [sys.executable, "-m", "etude", *command, "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    return done.stdout if done.returncode == 0 else None


@pytest.fixture(scope="module")
def diagnostics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Check all snippets in one process and return the codes and messages of each."""
    folder = tmp_path_factory.mktemp("snippets")
    names = {}
    for number, snippet in enumerate(snippets()):
        file = folder / f"{number:03}.etude"
        file.write_text(snippet.text)
        names[file.name] = str(snippet)
    arguments = [sys.executable, "-m", "etude", "check", *names, "--format", "json"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=folder)
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    for each in json.loads(done.stdout)["diagnostics"]:
        if each["severity"] == "error":
            found[names[Path(each["file"]).name]].append(f"{each['code']}: {each['message']} (line {each['line']})")
    return found


def test_the_manual_has_recipes() -> None:
    assert len(snippets()) >= 10


@pytest.mark.parametrize("snippet", [each for each in snippets() if each.code is None], ids=str)
def test_a_recipe_in_the_manual_checks(snippet: Snippet, diagnostics: dict[str, list[str]]) -> None:
    assert diagnostics[str(snippet)] == []


@pytest.mark.parametrize("snippet", [each for each in snippets() if each.code], ids=str)
def test_a_wrong_recipe_in_the_manual_fails_as_it_says(snippet: Snippet, diagnostics: dict[str, list[str]]) -> None:
    assert {message.split(":")[0] for message in diagnostics[str(snippet)]} == {snippet.code}


@pytest.mark.full
@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("snippet", [each for each in snippets() if each.code is None], ids=str)
def test_a_recipe_in_the_manual_runs(snippet: Snippet, backend: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.etude").write_text(snippet.text)
    arguments = [sys.executable, "-m", "etude", "run", "recipe.etude", "--backend", backend]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode in {0, 3}, done.stdout + done.stderr  # 3: a claim fails, which is a result


def test_every_etude_command_in_the_manual_exists_with_its_options() -> None:
    wrong = []
    for place, line in commands():
        words = shlex.split(line, comments=True)
        if words[:1] != ["etude"]:
            continue
        inner = [word for word in words[2:3] if f"{words[1]} {word}" in command_names(words[1])]
        shown = help_of(words[1], *inner)
        flags = [word.split("=")[0] for word in words[2:] if word.startswith("-") and word != "-"]
        if shown is None or any(not re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", shown) for flag in flags):
            wrong.append(f"{place}: {line}")
    assert wrong == []


def test_the_manual_names_every_operation_and_function_of_the_language() -> None:
    pages = ("language.md", "library.md", "operations.md")
    page = "\n".join((ROOT / "docs" / name).read_text() for name in pages)
    library = ROOT / "compiler" / "std"
    written = {
        name
        for file in library.glob("*.etude")
        for name in re.findall(r"^(?:fn|model) (\w+)", file.read_text(), re.MULTILINE)
    }
    internal = {"bound_loss", "class_count", "has_classes", "input", "predict", "target", "size"}
    known = {name for name in library_names() if not re.match(r"lecun_|he_|xavier_", name)} | written
    assert sorted(name for name in known - internal if not re.search(rf"\b{name}\b", page)) == []


def test_the_manual_names_every_command_and_every_source() -> None:
    commands_page = (ROOT / "docs" / "commands.md").read_text()
    data_page = (ROOT / "docs" / "data.md").read_text()
    assert [
        name for name in command_names() if f"`{name} " not in commands_page and f"`{name}`" not in commands_page
    ] == []
    assert [name for name in sources.available() if not re.search(rf'"(\w+\.)?{name}[":]|\b{name}\b', data_page)] == []


def test_every_make_target_in_the_manual_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [(place, line.split()[1]) for place, line in commands() if line.startswith("make ")]
    assert named
    assert [(place, target) for place, target in named if target not in targets] == []


def test_every_link_and_picture_in_the_manual_leads_somewhere() -> None:
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in LINK.findall(page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_page_is_reached_from_the_first_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    assert [
        page.name for page in (ROOT / "docs").glob("*.md") if page.name != "index.md" and page.name not in index
    ] == []


def test_every_file_that_the_manual_names_exists() -> None:
    named = re.compile(r"`((?:grammar|compiler|runtime|backends|etude|tests|benchmarks|examples|docs)/[\w./]+)`")
    missing = [
        f"{page.name}: {name}"
        for page in PAGES
        for name in named.findall(page.read_text())
        if not (ROOT / name).exists()
    ]
    assert missing == []
