"""What holds for every file of the repository: sizes, names, and nothing that belongs to one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("etude", "grammar", "compiler", "runtime", "backends")
LONGEST = 500
# A file may be longer where splitting it would separate what is read together; the reason stands here.
LONGER: dict[str, str] = {}
VAGUE_NAMES = {"utils", "util", "common", "misc", "helpers", "helper", "manager"}
# Spelled in parts, so that this file does not match itself.
MACHINE_PATHS = re.compile(
    "/(" + "|".join(["work", "root", "home/[a-z]+", "Users/[A-Za-z]+", "tmp/[a-z]+", "opt/py[a-z]*"]) + r")/"
)
PACKAGE_HOSTS = re.compile(
    "|".join(["py" + r"pi\.org", "python" + r"hosted\.org", r"--extra-" + "index-url", r"--index" + "-url"])
)


def files() -> list[Path]:
    """Return every file that git tracks or would track, links left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def text_files() -> list[tuple[str, str]]:
    """Return (name, text) of every file that is text."""
    found = []
    for path in files():
        data = path.read_bytes()
        if b"\0" not in data[:4096]:
            found.append((path.relative_to(ROOT).as_posix(), data.decode()))
    return found


def matches(pattern: re.Pattern[str]) -> list[str]:
    """Return `file:line: match` for every match in the repository's text files."""
    return [
        f"{name}:{number}: {found.group()}"
        for name, text in text_files()
        for number, line in enumerate(text.splitlines(), 1)
        if (found := pattern.search(line))
    ]


def test_no_file_of_code_is_too_long_to_read_in_one_go() -> None:
    code = {name: text.count("\n") for name, text in text_files() if name.endswith((".py", ".lark"))}
    assert {name: lines for name, lines in code.items() if lines > LONGEST and name not in LONGER} == {}
    assert [name for name in LONGER if code.get(name, 0) <= LONGEST] == [], "no longer needs its exception"


def test_every_module_is_named_after_what_it_holds() -> None:
    assert [name for name, _ in text_files() if VAGUE_NAMES & set(re.split(r"[/._]", name))] == []


def test_no_file_carries_a_path_of_one_machine() -> None:
    assert matches(MACHINE_PATHS) == []


def test_no_file_names_a_package_host() -> None:
    assert matches(PACKAGE_HOSTS) == []


def test_every_file_of_code_says_what_it_is() -> None:
    missing = [
        name
        for name, text in text_files()
        if name.endswith(".py") and name.split("/")[0] in PACKAGES and text.strip() and not text.startswith('"""')
    ]
    assert missing == []


@pytest.mark.parametrize(
    "name", ["__init__.py", "__main__.py", "py.typed", "grammar", "compiler", "runtime", "backends"]
)
def test_the_type_checker_sees_each_part_under_its_package_name(name: str) -> None:
    link = ROOT / ".typecheck" / "etude" / name
    assert link.is_symlink()
    assert link.resolve() == (ROOT / name if name in PACKAGES else ROOT / "etude" / name)


def test_test_files_have_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_generated_files_are_not_tracked() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [
        name for name in listed.splitlines() if re.search(r"(^|/)(__pycache__|\.venv|\.etude|demo|build)/", name)
    ] == []
