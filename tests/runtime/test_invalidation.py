"""What makes stages run again and what does not: the matrix, on a recipe that needs no framework."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from etude.runtime.compiling import compile_file
from etude.runtime.runner import run
from etude.runtime.store import Store
from etude.runtime.store.filehashes import TABLE, _stamp

RECIPE = """use "lib.etude" as lib
data   = load("numbers.csv") |> split(train = 60%, test = 40%)
few    = sample(data.train, 50%)
scaled = few |> map(row => {x: lib.grow(row.x)})
mean_x = measure(scaled, row => row.x)
parts  = [measure(data.test, row => row.x * s) for s in [1, 2, 3]]
total  = parts[0] + parts[1] + parts[2]
expect mean_x > -1000
"""
LIBRARY = "fn grow(x) = x * 2\nfn unused(x) = x\n"
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has been run, with its store in the folder beside."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "project").mkdir()
    rows = "".join(f"{number / 2},{number % 2}\n" for number in range(40))
    (folder / "project" / "numbers.csv").write_text("x,label\n" + rows)
    (folder / "project" / "recipe.etude").write_text(RECIPE)
    (folder / "project" / "lib.etude").write_text(LIBRARY)
    assert len(executed(folder / "project", folder / "store")) == 10
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path / "project"


def executed(folder: Path, store: Path, recipe: str = "recipe.etude") -> list[str]:
    """The names of the stages that a run executes."""
    compilation = compile_file(folder / recipe)
    assert compilation.workflow is not None, compilation.diagnostics
    result = run(compilation.workflow, store=Store(store), backend="torch", base=folder, jobs=1)
    assert not result.failed
    return [stage.name for stage in result.stages.values() if stage.action == "run"]


def edit(name: str, *replacements: tuple[str, str]) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        text = path.read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)

    return change


def reorder(folder: Path) -> None:
    """The definitions the other way round."""
    use, *rest = (folder / "recipe.etude").read_text().splitlines()
    (folder / "recipe.etude").write_text("\n".join([use, *reversed(rest)]) + "\n")


def touch(folder: Path) -> None:
    os.utime(folder / "numbers.csv", (1_000_000_000, 1_000_000_000))


NOTHING = {
    "a reformatted recipe": edit("recipe.etude", (" = ", "="), (", 50%)", ",\n  50%\n)")),
    "a comment": edit("recipe.etude", ("few ", "# fewer rows\nfew ")),
    "other names": edit("recipe.etude", ("few", "some_rows"), ("scaled", "larger"), ("parts", "pieces")),
    "definitions in another order": reorder,
    "sweep values in another order": edit(
        "recipe.etude", ("[1, 2, 3]", "[3, 1, 2]"), ("parts[0] + parts[1] + parts[2]", "parts[1] + parts[2] + parts[0]")
    ),
    "a function of the library that nobody uses": edit("lib.etude", ("unused(x) = x", "unused(x) = x + 1")),
    "another name in the library": edit("lib.etude", ("grow(x) = x * 2", "grow(value) = value * 2  # twice")),
    "a file that is touched": touch,
}


@pytest.mark.parametrize("change", NOTHING.values(), ids=NOTHING.keys())
def test_what_means_the_same_runs_nothing(change: Change, project: Path, tmp_path: Path) -> None:
    change(project)
    assert executed(project, tmp_path / "store") == []


def test_a_project_that_is_moved_runs_nothing(project: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(project, moved)
    shutil.rmtree(project)
    (moved / "recipe.etude").rename(moved / "other.etude")
    assert executed(moved, tmp_path / "store", "other.etude") == []


SOMETHING = {
    "a new sweep value runs that value": (
        edit("recipe.etude", ("[1, 2, 3]", "[1, 5, 2, 3]"), ("parts[0] + parts[1] + parts[2]", "parts[0] + parts[3]")),
        ["parts[s=5]", "total"],
    ),
    "an edited stage runs its cone": (
        edit("recipe.etude", ("data.train, 50%", "data.train, 25%")),
        ["few", "scaled", "mean_x", "expect"],
    ),
    "an edited function of the library runs the stages that use it": (
        edit("lib.etude", ("x * 2", "x * 3")),
        ["scaled", "mean_x", "expect"],
    ),
    "an equal output ends the wave": (edit("lib.etude", ("x * 2", "x + x")), ["scaled"]),
    "an edited file runs its cone": (
        edit("numbers.csv", ("0.5,1", "0.75,1")),
        ["data", "data.split", "few", "scaled", "mean_x", "parts[s=1]", "parts[s=2]", "parts[s=3]", "expect", "total"],
    ),
    "a claim that asks for more runs alone": (edit("recipe.etude", ("> -1000", "> -2000")), ["expect"]),
}


@pytest.mark.parametrize(("change", "cone"), SOMETHING.values(), ids=SOMETHING.keys())
def test_a_change_runs_what_depends_on_it(change: Change, cone: list[str], project: Path, tmp_path: Path) -> None:
    change(project)
    assert executed(project, tmp_path / "store") == cone


def test_recipes_that_share_a_store_share_equal_stages(project: Path, tmp_path: Path) -> None:
    (project / "second.etude").write_text(
        'd = load("numbers.csv") |> split(train = 60%, test = 40%)\n'
        "own = sample(d.train, 50%)\nnew = measure(own, row => row.x)\n"
    )
    assert executed(project, tmp_path / "store", "second.etude") == ["new"]


def test_a_file_whose_size_and_times_were_restored_is_noticed(project: Path, tmp_path: Path) -> None:
    path = project / "numbers.csv"
    before = path.stat()
    edit("numbers.csv", ("0.5,1", "0.7,1"))(project)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert executed(project, tmp_path / "store")[0] == "data"


def test_files_are_read_again_where_times_are_not_trusted(project: Path, tmp_path: Path) -> None:
    """A file system may keep coarse times: then only reading tells."""
    store = Store(tmp_path / "store")
    path = project / "numbers.csv"
    right = store.hash_file(path)
    with sqlite3.connect(store.root / "files.sqlite") as table:
        table.execute(TABLE)
        values = (str(path.resolve()), _stamp(path.stat()), "the hash of what it held before")
        table.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", values)
    table.close()
    assert store.hash_file(path) == "the hash of what it held before"
    store.trusts_times = False
    assert store.hash_file(path) == right
