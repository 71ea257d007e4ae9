"""The wheel and the editable install: everything is in them, under `etude`, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("etude", "grammar", "compiler", "runtime", "backends")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build needs, so that building leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network."""
    target = tmp_path_factory.mktemp("wheel")
    command = ["wheel", "--quiet", "--no-index", "--no-build-isolation", "--no-deps", "--wheel-dir", str(target)]
    run_python("-m", "pip", *command, str(source), cwd=target)
    (built,) = target.glob("*.whl")
    return built


def run_python(*arguments: str, cwd: Path, **environment: str) -> str:
    """Run this Python somewhere else and return what it printed; what it prints on failure is shown."""
    variables = {**os.environ, **environment}
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed_name(file: Path) -> str:
    """Return where a file of the checkout lies in the wheel."""
    path = file.relative_to(ROOT).as_posix()
    return path if path.startswith("etude/") else f"etude/{path}"


def names_in(archive: Path) -> set[str]:
    with zipfile.ZipFile(archive) as opened:
        return set(opened.namelist())


def unpack(archive: Path, target: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(target)
    return target


def code_and_data() -> list[Path]:
    """Return every file of the package folders that belongs to the project."""
    files = (file for folder in FOLDERS for file in (ROOT / folder).rglob("*") if file.is_file())
    return sorted(file for file in files if "__pycache__" not in file.parts and not file.name.startswith("."))


def test_the_wheel_holds_every_file_of_the_package_folders(wheel: Path) -> None:
    expected = {installed_name(file) for file in code_and_data()}
    assert {"etude/grammar/etude.lark", "etude/py.typed", "etude/backends/program/ir.py"} <= expected
    assert sorted(expected - names_in(wheel)) == []


def test_the_wheel_puts_nothing_beside_the_package(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names_in(wheel)}
    assert {top for top in tops if not re.fullmatch(r"etude_lang-[\d.]+\.dist-info", top)} == {"etude"}


def test_the_wheel_carries_the_license_and_the_command(wheel: Path) -> None:
    names = names_in(wheel)
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    with zipfile.ZipFile(wheel) as opened:
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "etude = etude.__main__:main" in opened.read(entry_points).decode()


def test_the_wheel_works_where_it_is_unpacked(wheel: Path, tmp_path: Path) -> None:
    target = unpack(wheel, tmp_path / "site")
    program = "import etude.grammar.parser, etude.backends.ops.table as t; print(etude.grammar.parser.__file__)"
    printed = run_python("-c", program, cwd=tmp_path, PYTHONPATH=str(target))
    assert Path(printed.strip()) == target / "etude" / "grammar" / "parser.py"


def test_the_wheel_checks_a_recipe_where_it_is_unpacked(wheel: Path, tmp_path: Path) -> None:
    target = unpack(wheel, tmp_path / "site")
    recipe = shutil.copy(ROOT / "examples" / "simclr_v2.etude", tmp_path)
    run_python("-m", "etude", "check", str(recipe), cwd=tmp_path, PYTHONPATH=str(target))


@pytest.fixture(scope="module")
def editable(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An editable install of the copy, unpacked into a site folder of its own."""
    target = tmp_path_factory.mktemp("editable")
    program = f"from setuptools.build_meta import build_editable; build_editable({str(target)!r})"
    run_python("-W", "ignore", "-c", program, cwd=source)
    (built,) = target.glob("*.whl")
    return unpack(built, target / "site")


def in_site(site: Path, program: str) -> str:
    """Run a program in a Python that has only this site folder besides the standard library."""
    start = f"import site; site.addsitedir({str(site)!r})\n"
    return run_python("-I", "-S", "-c", start + program, cwd=site)


def test_an_editable_install_adds_nothing_but_the_package(editable: Path) -> None:
    shown = sorted(path.name for path in editable.iterdir() if not path.name.endswith(".dist-info"))
    assert all(name.startswith("__editable__") for name in shown), shown
    program = "import importlib.util\nprint(*[n for n in {!r} if importlib.util.find_spec(n)])"
    assert in_site(editable, program.format(("grammar", "compiler", "runtime", "backends", "tests"))).split() == []


def test_an_editable_install_sees_the_checkout(editable: Path, source: Path) -> None:
    printed = in_site(editable, "import etude.grammar.tokens as tokens; print(tokens.__file__)")
    assert Path(printed.strip()) == source / "grammar" / "tokens.py"


def test_an_editable_install_sees_a_folder_that_came_later(editable: Path, source: Path) -> None:
    later = source / "compiler" / "later"
    later.mkdir()
    (later / "__init__.py").write_text("answer = 42\n")
    assert in_site(editable, "from etude.compiler.later import answer; print(answer)").strip() == "42"
