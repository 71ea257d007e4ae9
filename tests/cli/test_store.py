"""`etude store` and what is below it, on a recipe that needs no framework."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.runtime.store import Store, injection

Cli = Callable[..., Any]


@pytest.fixture
def run(cli: Cli, folder: Path) -> str:
    """The id of a finished run in `.etude`."""
    return str(cli("run", "host.etude", "--json").json["run"])


def test_a_store_says_how_large_it_is(cli: Cli, run: str) -> None:
    found = cli("store", "--json").json
    assert found["runs"]["count"] == 1 and found["records"]["kinds"]["measure"] == 2
    assert found["objects"]["bytes"] == sum(
        path.stat().st_size for path in Path(".etude/objects").rglob("*") if path.is_file()
    )
    assert "1 run," in cli("store").out


def test_without_a_store_there_is_nothing_to_look_after_and_none_is_made(cli: Cli, folder: Path) -> None:
    for command in (["store"], ["store", "verify"], ["store", "gc"], ["store", "pin", "last"]):
        shown = cli(*command)
        assert (shown.code, "there is no store .etude" in shown.err) == (2, True)
    assert not Path(".etude").exists()


def test_a_damaged_object_is_found_and_the_next_run_makes_it_anew(cli: Cli, run: str) -> None:
    assert "all sound" in cli("store", "verify").out
    store = Store(".etude")
    value = next(record for record in store.records if record.kind == "measure").outputs["value"]
    path = store.objects.locate(value)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    shown = cli("store", "verify", "--json")
    assert (shown.code, shown.json["sound"], shown.json["damaged"]) == (4, False, [value])
    assert cli("run", "host.etude", "--json").json["executed"] == 1
    assert cli("store", "verify").code == 0


def test_old_runs_are_removed_unless_they_are_pinned(cli: Cli, run: str) -> None:
    again = cli("run", "host.etude", "--json").json["run"]
    assert "is pinned" in cli("store", "pin", run, "--note", "the paper").out
    looked = cli("store", "gc", "--last", "0", "--days", "0", "--dry-run", "--json").json
    assert (looked["runs_removed"], looked["runs_kept"]) == ([again], {run: "pinned"})
    assert len(list(Path(".etude/runs").iterdir())) == 2
    assert "1 run kept" in cli("store", "gc", "--last", "0", "--days", "0").out
    assert [path.name for path in Path(".etude/runs").iterdir()] == [run]
    assert "pinned: " + run + " (the paper)" in cli("store").out
    assert "no longer pinned" in cli("store", "unpin", run).out
    assert cli("store", "unpin", run, "--json").json["was_pinned"] is False
    assert cli("store", "gc", "--last", "-1").code == 2


def test_a_run_goes_into_a_file_and_comes_out_elsewhere(cli: Cli, run: str, folder: Path) -> None:
    assert "run.tar: run" in cli("store", "export", "last", "-o", "run.tar").out
    assert cli("store", "export", run).code == 0 and Path(f"{run}.tar").exists()
    assert cli("store", "import", "run.tar", "--store", "other", "--json").json["run"] == run
    assert "holds  means.few > 1" in cli("show", run, "--store", "other").out
    assert cli("run", "host.etude", "--store", "other", "--json").json["executed"] == 0
    Path("run.tar").write_bytes(Path("run.tar").read_bytes()[:5000])
    shown = cli("store", "import", "run.tar", "--store", "third")
    assert shown.code == 4 and "no export of a run" in shown.err
    assert cli("store", "import", "nothing.tar").code == 2


def test_runs_go_through_a_second_store(cli: Cli, run: str, folder: Path) -> None:
    pytest.importorskip("fsspec")
    second = f"file://{folder}/second"
    assert "sent:" in cli("store", "push", "--remote", second).out
    found = cli("run", "host.etude", "--store", "here", "--remote", second, "--json").json
    assert (found["executed"], found["cached"]) == (0, 7)
    (folder / "etude.toml").write_text(f'[store]\nremote = "{second}"\n')
    assert "0 to run, 7 cached" in cli("plan", "host.etude", "--store", "nowhere").out
    assert cli("store", "pull", run, "--store", "there").code == 0
    assert cli("store", "pull", "--all", "--store", "there", "--json").json["runs"][0]["run"] == run
    (folder / "etude.toml").unlink()
    assert "holds" in cli("show", run, "--store", "there").out
    shown = cli("store", "pull", "--all")
    assert shown.code == 2 and "no second store is named" in shown.err
    assert cli("store", "pull", "--remote", second).code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[store]\nremot = 1\n", "nothing reads 'remot' of [store]"),
        ("[store]\nremote = 1\n", "'remote' of [store] cannot be 1"),
        ('[store]\nverify = "never"\n', "'verify' of [store] cannot be 'never'"),
        ("\n[run]\nretries = -1\n", "etude.toml:3: 'retries' of [run] cannot be -1"),
        ("run = 1\n", "'run' cannot be 1"),
        ("[", "etude.toml: "),
    ],
)
def test_wrong_settings_of_a_project_are_refused(cli: Cli, folder: Path, text: str, message: str) -> None:
    Store(".etude")
    (folder / "etude.toml").write_text(text)
    shown = cli("store", "verify")
    assert (shown.code, message in shown.err) == (2, True), shown.err


def test_a_store_may_trust_the_stamps_of_its_files(cli: Cli, run: str, folder: Path) -> None:
    (folder / "etude.toml").write_text('[store]\nverify = "changed"\n[run]\nretries = 2\n')
    assert cli("run", "host.etude", "--json").json["executed"] == 0
    store = Store(".etude")
    hash = next(record for record in store.records if record.kind == "claim").outputs["verdict"]
    path = store.objects.locate(hash)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"holds", b"fails"))
    again = cli("run", "host.etude", "--json").json
    assert (again["executed"], again["claims"][0]["verdict"]) == (1, "holds")


def test_looking_after_a_store_loads_nothing_heavy(run: str, folder: Path) -> None:
    program = (
        "import sys\nfrom etude.runtime.cli.main import main\n"
        "for words in (['store'], ['store', 'gc', '--dry-run'], ['store', 'verify'], ['store', 'export', 'last']):\n"
        "    assert main(words) == 0\n"
        "heavy = ('torch', 'jax', 'numpy', 'pyarrow', 'networkx', 'pydantic', 'rich', 'fsspec', 'sklearn')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_stage_may_be_tried_again_a_number_of_times(cli: Cli, folder: Path) -> None:
    shown = cli("run", "host.etude", "--retries", "-1")
    assert (shown.code, "--retries: expected a number from 0 on, got -1" in shown.err) == (2, True)
    assert cli("run", "host.etude", "--retries", "2", "--json").json["executed"] == 7


def test_a_disk_that_is_full_is_one_paragraph_and_exit_4_with_the_traceback_in_a_file(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(injection, "before", injection.armed(f"full:18:{folder / 'trace'}"))
    shown = cli("run", "host.etude")
    assert shown.code == 4 and "Traceback" not in shown.err + shown.out
    assert "the disk is full\nhint: make room (`etude store gc` removes old results) and run again" in shown.err
    (kept,) = Path(".etude/runs").glob("*/error.txt")
    assert "Traceback" in kept.read_text()
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert cli("run", "host.etude").code == 0
