"""`etude plan`, `run`, `show` and `runs` on a recipe that needs no framework."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Cli = Callable[..., Any]
PLAN_STAGE = {"id", "name", "kind", "key", "action", "reason", "inputs", "cost", "memory", "pass"}
RUN_FIELDS = {
    "run",
    "backend",
    "target",
    "stages",
    "executed",
    "cached",
    "claims",
    "metrics",
    "models",
    "report",
    "seconds",
}


def test_whatever_object_is_damaged_a_run_that_finds_all_stages_repairs_it_and_writes_its_report(
    cli: Cli, folder: Path
) -> None:
    first = cli("run", "host.etude", "--json").json
    kept = sorted((folder / ".etude" / "objects").glob("??/*"))
    notices = 0
    for file in kept:
        file.chmod(0o644)
        file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
        again = cli("run", "host.etude", "--json")
        assert again.code == 0, again.err
        notices += "another run makes it again" in again.err
        assert (again.json["metrics"], again.json["failed"]) == (first["metrics"], 0)
        assert Path(again.json["report"]).is_file()
    assert notices >= 1 and len(kept) >= 5


def test_a_plan_says_what_would_run_and_what_it_would_cost(cli: Cli, folder: Path) -> None:
    plan = cli("plan", "host.etude", "--json").json
    assert {"recipe", "backend", "target", "stages", "totals", "passes"} <= plan.keys()
    assert all(stage.keys() >= PLAN_STAGE for stage in plan["stages"])
    assert all(stage["cost"].keys() == {"flops", "bytes", "seconds", "parameters"} for stage in plan["stages"])
    assert all(stage["memory"].keys() == {"device_bytes", "fits"} for stage in plan["stages"])
    assert plan["totals"]["run"] == 7
    assert plan["stages"][1]["inputs"] == [plan["stages"][0]["id"]]


def test_a_run_executes_reports_and_is_found_again(cli: Cli, folder: Path) -> None:
    first = cli("run", "host.etude", "--json")
    assert first.code == 0
    run = first.json
    assert run.keys() >= RUN_FIELDS
    assert (run["executed"], run["cached"], run["target"]) == (7, 0, "cpu")
    assert [stage["action"] for stage in run["stages"]] == ["run"] * 7
    assert all({"id", "name", "kind", "action", "seconds", "outputs"} <= stage.keys() for stage in run["stages"])
    (claim,) = run["claims"]
    assert claim.keys() >= {"line", "text", "because", "verdict", "values"}
    assert (claim["line"], claim["text"], claim["verdict"]) == (5, "means.few > 1", "holds")
    assert Path(run["report"]).read_text().startswith("<!doctype html>")
    assert "data.split: done in" in first.err

    again = cli("run", "host.etude")
    assert again.code == 0
    assert "0 stages run, 7 cached" in again.out
    assert "cached: data, data.split, few and 4 more" in again.err
    assert "holds  means.few > 1" in again.out

    plan = cli("plan", "host.etude")
    assert "0 to run, 7 cached on torch on cpu" in plan.out
    assert "cached" in cli("graph", "host.etude").out

    shown = cli("show", run["run"], "--json").json
    assert (shown["status"], shown["report"]) == (
        "finished",
        str(Path(".etude/runs") / run["run"] / "report/index.html"),
    )
    assert "holds  means.few > 1" in cli("show").out
    listed = cli("runs", "--json").json["runs"]
    assert [each["executed"] for each in listed] == [0, 7]
    assert "7 run, 0 cached" in cli("runs").out


def test_another_value_of_a_param_runs_what_depends_on_it(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    run = cli("run", "host.etude", "--set", "share=20%", "--json").json
    assert run["params"] == {"share": 0.2}
    executed = [stage["name"] for stage in run["stages"] if stage["action"] == "run"]
    assert executed == ["few", "means.few", "expect", "report.table"]


def test_a_claim_that_fails_exits_3(cli: Cli, folder: Path) -> None:
    (folder / "host.etude").write_text((folder / "host.etude").read_text().replace("> 1 because", "> 100 because"))
    shown = cli("run", "host.etude")
    assert shown.code == 3
    assert "fails  means.few > 100\n    because numbers grow\n    means.few = " in shown.out


def test_a_stage_that_fails_exits_4_and_the_others_go_on(cli: Cli, folder: Path) -> None:
    lines = ["x,label", *(f"{number / 2},{number % 2}" for number in range(1200)), "oops,1"]
    (folder / "broken.csv").write_text("\n".join(lines) + "\n")
    (folder / "two.etude").write_text(
        'good = measure(load("numbers.csv"), row => row.x)\n'
        'bad  = measure(load("broken.csv"), row => row.x)\n'
        "expect bad > 1\n"
        "report { good = good  bad = bad }\n"
    )
    shown = cli("run", "two.etude")
    assert shown.code == 4
    assert "broken.csv:1202" in shown.out
    assert "good = 9.75" in shown.out
    assert "cannot tell  bad > 1" in shown.out
    assert "1 failed" in shown.out
    manifest = cli("show", "--json").json
    assert manifest["status"] == "failed"
    assert "failed" in Path(manifest["report"]).read_text()


def test_one_stage_can_be_run_with_what_it_needs(cli: Cli, folder: Path) -> None:
    run = cli("run", "host.etude", "--only", "few", "--json").json
    assert [stage["name"] for stage in run["stages"]] == ["data", "data.split", "few"]


def test_wrong_settings_are_refused_before_anything_runs(cli: Cli, folder: Path) -> None:
    for arguments, message in [
        (["--jobs", "0"], "--jobs: expected a number from 1 on, got 0"),
        (["--only", "fwe"], "hint: did you mean 'few'?"),
        (["--target", "pod"], "hint: there are cpu, gpu, tpu"),
        (["--no-pass", "hoist"], "there is no pass 'hoist'"),
        (["--backend", "keras"], "invalid choice"),
    ]:
        shown = cli("run", "host.etude", *arguments)
        assert (shown.code, message in shown.err) == (2, True), message
    assert list((folder / ".etude").glob("runs/*")) == []


def test_a_wrong_recipe_with_json_is_one_object(cli: Cli, folder: Path) -> None:
    (folder / "wrong.etude").write_text("x = oops\n")
    shown = cli("run", "wrong.etude", "--json")
    assert shown.code == 1
    assert shown.json["diagnostics"][0]["code"] == "E201"
    assert not (folder / ".etude").exists()


def test_targets_come_from_the_file_beside_the_recipe(cli: Cli, folder: Path) -> None:
    (folder / "etude.toml").write_text('[target.here]\nbackend = "jax"\n')
    plan = cli("plan", "host.etude", "--target", "here", "--json").json
    assert (plan["target"], plan["backend"]) == ("here", "jax")
    shown = cli("plan", "host.etude", "--target", "here", "--backend", "torch")
    assert shown.code == 2
    assert "the target 'here' runs on jax, not on torch" in shown.err


def test_there_is_nothing_to_show_in_an_empty_folder(cli: Cli, folder: Path) -> None:
    assert "there are no runs in .etude" in cli("show").err
    assert cli("runs").out == "there are no runs in .etude\n"
    assert not (folder / ".etude").exists()


def test_a_run_that_does_not_exist_is_a_wrong_use(cli: Cli, folder: Path) -> None:
    shown = cli("show", "1999")
    assert shown.code == 2
    assert "there are no runs here\nhint: `etude run FILE` makes one" in shown.err


def test_a_run_that_finds_everything_loads_nothing_heavy(cli: Cli, folder: Path) -> None:
    assert cli("run", "host.etude").code == 0
    program = (
        "import sys, json, io, contextlib\nfrom etude.runtime.cli.main import main\nout = io.StringIO()\n"
        "with contextlib.redirect_stdout(out):\n    code = main(['run', 'host.etude', '--json'])\n"
        "heavy = ('torch', 'jax', 'numpy', 'networkx', 'pydantic', 'rich', 'matplotlib', 'sklearn')\n"
        "print(json.dumps([code, json.loads(out.getvalue())['executed'], [n for n in heavy if n in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 0, []]


def test_tables_and_texts_of_the_report_stand_in_the_terminal_a_row_a_line(cli: Cli, folder: Path) -> None:
    (folder / "said.jsonl").write_text(
        "".join(json.dumps({"text": text, "count": n}) + "\n" for n, text in [(1, "one\ntwo"), (12, "x" * 99)])
    )
    (folder / "said.etude").write_text(
        'report {\n  said = texts(load("said.jsonl"))\n'
        '  sizes = table([{name: "small", size: 1}, {name: "large", size: 10}])\n}\n'
    )

    lines = cli("run", "said.etude").out.splitlines()

    at = lines.index("said")
    assert sorted(lines[at + 2 : at + 4]) == [f"  one⏎two{' ' * 73}      1", f"  {'x' * 79}…     12"]
    at = lines.index("sizes")
    assert lines[at + 1 : at + 4] == ["  name   size", "  small     1", "  large    10"]


def test_params_come_from_a_file_and_what_is_set_goes_before_it(cli: Cli, folder: Path) -> None:
    (folder / "small.params").write_text("# a small run\n\nshare = 25%   # of the rows\n")
    assert cli("check", "host.etude", "--params", "small.params").code == 0
    assert "25%" in cli("graph", "host.etude", "--params", "small.params").out
    over = cli("graph", "host.etude", "--params", "small.params", "--set", "share=75%").out
    assert "75%" in over and "25%" not in over
    (folder / "small.params").write_text("share = 500%\n")
    wrong = cli("check", "host.etude", "--params", "small.params")
    assert wrong.code == 2 and "param 'share'" in wrong.out


def test_a_file_of_params_that_is_none_is_a_wrong_use(cli: Cli, folder: Path) -> None:
    assert "cannot read the params in none.params" in cli("check", "host.etude", "--params", "none.params").err
    for text, said in {"share 5%": "expected NAME = VALUE", "a = 1\na = 2": "'a' is set twice", "= 3": "NAME"}.items():
        (folder / "odd.params").write_text(text)
        outcome = cli("check", "host.etude", "--params", "odd.params")
        assert outcome.code == 2 and said in outcome.err, outcome.err
    (folder / "odd.params").write_text('name = "a # b"  # a comment\n')
    assert "no such param" in cli("check", "host.etude", "--params", "odd.params").out
