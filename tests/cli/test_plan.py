"""`etude plan`: what is merged and dropped, plans that are kept; `etude diff`: what an edit would run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.compiler.draw.picture import TIMES
from etude.runtime.store.filehashes import TABLE, _stamp

Cli = Callable[..., Any]
TWICE = """data  = load("numbers.csv")
few   = sample(data, 50%)
same  = sample(data, 50%)
spare = sample(data, 10%)
a = measure(few, row => row.x)
b = measure(same, row => row.x)
"""


def rewrite(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def by_name(plan: Any) -> dict[str, tuple[str, str]]:
    return {stage["name"]: (stage["action"], stage["reason"]) for stage in plan["stages"]}


def test_names_that_share_a_stage_are_merged_and_what_nothing_needs_is_dropped(cli: Cli, folder: Path) -> None:
    (folder / "twice.etude").write_text(TWICE)
    plan = cli("plan", "twice.etude", "--json").json
    found = by_name(plan)
    assert found["same"] == ("merged", "the same as few")
    assert found["b"] == ("merged", "the same as a")
    assert found["spare"] == ("dropped", "no claim, report, number or model needs it")
    assert (plan["totals"]["run"], plan["totals"]["merged"], plan["totals"]["dropped"]) == (3, 2, 1)
    assert [(each["name"], each["stages_before"], each["stages_after"]) for each in plan["passes"]] == [
        ("merge equal stages", 6, 4),
        ("drop unreachable", 4, 3),
    ]
    assert len({stage["id"] for stage in plan["stages"]}) == 6


def test_what_is_dropped_is_not_run_unless_it_is_asked_for(cli: Cli, folder: Path) -> None:
    (folder / "twice.etude").write_text(TWICE)
    assert [s["name"] for s in cli("run", "twice.etude", "--json").json["stages"]] == ["data", "few", "a"]
    only = cli("run", "twice.etude", "--only", "spare", "--json").json
    assert [(s["name"], s["action"]) for s in only["stages"]] == [("data", "cached"), ("spare", "run")]


def test_where_a_change_begins_the_plan_says_what_changed(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    found = by_name(cli("plan", "host.etude", "--set", "share=20%", "--json").json)
    assert found["few"] == ("run", "share 50% -> 20%")
    assert found["means.few"] == ("run", "after few")


def test_a_stage_of_a_new_name_is_not_said_to_have_changed(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    (folder / "other.etude").write_text(
        TWICE.replace("few   = sample(data, 50%)", "third = sample(data, 30%)").replace("few", "third")
    )
    found = by_name(cli("plan", "other.etude", "--json").json)
    assert found["third"] == ("run", "not done before with these inputs")
    shown = cli("plan", "other.etude").out
    assert "the most similar sample" in cli("why", "other.etude", "third").out and "->" not in shown


def test_a_result_that_is_gone_is_said_to_be(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    for path in (folder / ".etude" / "records").glob("*/*.json"):
        if json.loads(path.read_text())["kind"] == "sample":
            path.unlink()
    assert by_name(cli("plan", "host.etude", "--json").json)["few"] == ("run", "its result is no longer in the store")


def test_each_stage_has_its_weights_memory_operations_and_time(cli: Cli, folder: Path) -> None:
    (folder / "net.etude").write_text(
        'digits = load("sklearn:digits")\n'
        "net = finetune(flatten >> linear(10), on = digits, budget = 5steps)\n"
        "right = measure(digits, r => argmax(net(r.image)) == r.label)\n"
    )
    (line,) = (line for line in cli("plan", "net.etude").out.splitlines() if line.split()[1:2] == ["net"])
    assert "650 weights" in line and " kB " in line and "FLOP" in line and line.endswith("s")


def test_a_kept_plan_runs_as_long_as_nothing_that_matters_moved(cli: Cli, folder: Path) -> None:
    cli("plan", "host.etude", "--set", "share=20%", "-o", "plan.json")
    rewrite(folder / "host.etude", "few   =", "# some\nfew   =")
    run = cli("run", "--plan", "plan.json", "--json").json
    assert (run["params"], run["executed"]) == ({"share": 0.2}, 7)
    assert cli("run", "--plan", "plan.json", "--json").json["cached"] == 7


MOVES = {
    "the recipe": ("host.etude", "means.few > 1", "means.few > 2", "the recipe: expect is not what was planned"),
    "the data": ("numbers.csv", "0.5,1", "0.75,1", "the data: numbers.csv has other content"),
    "a version": ("plan.json", '"numpy": "', '"numpy": "0.', "the version of numpy: 0."),
    "the target": ("plan.json", '"device": "cpu"', '"device": "cuda"', "the target's device: cuda -> cpu"),
}


@pytest.mark.parametrize(("name", "old", "new", "message"), MOVES.values(), ids=MOVES.keys())
def test_a_kept_plan_is_refused_by_the_name_of_what_moved(
    name: str, old: str, new: str, message: str, cli: Cli, folder: Path
) -> None:
    cli("plan", "host.etude", "-o", "plan.json")
    rewrite(folder / name, old, new)
    shown = cli("run", "--plan", "plan.json")
    assert (shown.code, message in shown.err) == (2, True), shown.err
    assert list((folder / ".etude").glob("runs/*")) == []


def test_a_kept_plan_remembers_its_target(cli: Cli, folder: Path) -> None:
    (folder / "etude.toml").write_text('[target.here]\nbackend = "torch"\n')
    cli("plan", "host.etude", "--target", "here", "-o", "plan.json")
    assert cli("run", "--plan", "plan.json", "--json").json["target"] == "here"
    (folder / "etude.toml").write_text('[target.here]\nbackend = "jax"\n')
    shown = cli("run", "--plan", "plan.json")
    assert (shown.code, "jax" in shown.err) == (2, True)


def test_a_kept_plan_counts_on_what_the_store_had(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude", "--only", "few")
    cli("plan", "host.etude", "-o", "plan.json")
    shown = cli("run", "--plan", "plan.json", "--store", "another")
    assert (shown.code, "the store: data, data.split, few are no longer there" in shown.err) == (2, True)


def test_a_plan_goes_without_other_settings_and_without_a_plan_a_file_is_needed(cli: Cli, folder: Path) -> None:
    cli("plan", "host.etude", "-o", "plan.json")
    assert "goes without --seed" in cli("run", "--plan", "plan.json", "--seed", "3").err
    assert "arguments are required: FILE" in cli("run").err
    (folder / "no.json").write_text(json.dumps({"stages": []}))
    assert "is not a saved plan" in cli("run", "--plan", "no.json").err


def test_two_recipes_are_compared_stage_by_stage(cli: Cli, folder: Path) -> None:
    text = (folder / "host.etude").read_text()
    (folder / "new.etude").write_text(
        text.replace("share: fraction = 50%", "share: fraction = 30%").replace("> 1", "> 2")
    )
    found = cli("diff", "host.etude", "new.etude", "--json").json
    changes = {each["name"]: (each["change"], [c["path"] for c in each["changed"]]) for each in found["stages"]}
    assert changes["few"] == ("edited", ["share"])
    assert changes["means.few"] == ("follows", [])
    assert changes["expect"] == ("edited", ["expression", "computed"])
    assert found["totals"]["run"] == len(found["stages"]) == 4
    assert "edited   few" in cli("diff", "host.etude", "new.etude").out
    assert cli("diff", "host.etude", "host.etude", "--json").json["stages"] == []


def test_an_edit_is_compared_with_the_last_run(cli: Cli, folder: Path) -> None:
    assert "there is no run of host.etude" in cli("diff", "host.etude").err
    cli("run", "host.etude")
    assert cli("diff", "host.etude", "--json").json["totals"]["run"] == 0
    rewrite(folder / "host.etude", "data.train |> sample(share)", "data.test |> sample(share)")
    found = cli("diff", "host.etude", "--json").json
    assert [each["name"] for each in found["stages"]] == ["few", "means.few", "expect", "report.table"]
    assert found["stages"][0]["changed"][0]["what"] == "input"


FULL = """param epochs: duration = 2epochs
digits = load("sklearn:digits") |> split(train = 60%, valid = 20%, test = 20%)
few    = sample(digits.train, 50%)
fn study(d, batch = 32) = finetune(flatten >> linear(10), on = d, budget = epochs, batch = batch) {
  optimizer = adamw(lr = 2e-3)
}
one = study(few, batch = 16)
two = study(few)
"""


def test_a_full_plan_says_where_each_setting_comes_from(cli: Cli, folder: Path) -> None:
    (folder / "full.etude").write_text(FULL)
    plan = cli("plan", "full.etude", "--full", "--backend", "torch", "--json").json
    found = {e["stage"]: {s["name"]: (s["value"], s["from"]) for s in e["settings"]} for e in plan["settings"]}
    assert found["few"]["share"] == ("50%", "full.etude:3")
    one, two = found["one"], found["two"]
    assert one["optimizer.lr"] == ("0.002", "full.etude:5")
    assert one["optimizer.weight_decay"] == ("0.01", "default of adamw")
    assert (one["batch"], two["batch"]) == (("16", "full.etude:7"), ("32", "default of study"))
    assert one["budget"] == ("2epochs", "full.etude:4 (epochs)")
    assert one["keep"] == ("last", "chosen by finetune")
    assert one["clip"] == ("none", "default of train")
    assert found["target cpu"]["backend"] == ("torch", "--backend")
    assert found["target cpu"]["device"] == ("cpu", "default of target cpu")


def test_a_full_plan_tells_what_was_set_by_hand_and_repeats_nothing(cli: Cli, folder: Path) -> None:
    sweep = "xs = [sample(digits.train, 10%, seed = s) for s in 1..3]\n"
    (folder / "full.etude").write_text(FULL + sweep + "m = measure(xs[0] + xs[1] + xs[2], row => mean(row.image))\n")
    shown = cli("plan", "full.etude", "--full", "--set", "epochs=3epochs").out
    assert "budget                  3epochs   --set epochs" in shown
    assert f"\nxs {TIMES}3\n" in shown


def test_verify_reads_files_again_whatever_is_remembered_of_them(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    path = folder / "numbers.csv"
    with sqlite3.connect(folder / ".etude" / "files.sqlite") as table:
        table.execute(TABLE)
        table.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (str(path), _stamp(path.stat()), "of long ago"))
    table.close()
    assert cli("plan", "host.etude", "--json").json["totals"]["run"] == 7
    assert cli("plan", "host.etude", "--verify", "--json").json["totals"]["run"] == 0
    assert cli("run", "host.etude", "--verify", "--json").json["executed"] == 0
