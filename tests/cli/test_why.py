"""`etude why`: the first difference that makes a stage run."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

Cli = Callable[..., Any]


def edit(folder: Path, old: str, new: str, name: str = "host.etude") -> None:
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_before_the_first_run_there_is_nothing_to_compare_with(cli: Cli, folder: Path) -> None:
    found = cli("why", "host.etude", "few", "--json").json
    assert (found["stage"], found["action"], found["changed"]) == ("few", "run", [])
    assert "the store has no sample" in found["reason"]
    assert not (folder / ".etude").exists()


def test_a_stage_that_is_cached_says_so(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    found = cli("why", "host.etude", "few", "--json").json
    assert (found["action"], found["changed"]) == ("cached", [])


def test_an_edited_setting_is_named_in_the_words_of_the_recipe(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    found = cli("why", "host.etude", "few", "--set", "share=20%", "--json").json
    assert found["changed"] == [{"what": "program", "path": "share", "before": "50%", "after": "20%"}]
    assert "few would run: share 50% -> 20% (host.etude:3)" in cli("why", "host.etude", "few", "--set", "share=20%").out


def test_what_depends_on_an_edited_stage_leads_back_to_the_edit(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    found = cli("why", "host.etude", "expect", "--set", "share=20%", "--json").json
    assert [change["what"] for change in found["changed"]] == ["input"]
    assert found["changed"][0]["after"] == "means.few would run"
    assert [(step["stage"], step["path"]) for step in found["chain"]] == [("means.few", "data (few)"), ("few", "share")]


def test_another_content_of_a_file_is_an_input(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    edit(folder, "0.5,1", "0.7,1", "numbers.csv")
    (change,) = cli("why", "host.etude", "data", "--json").json["changed"]
    assert (change["what"], change["path"]) == ("input", "numbers.csv")
    assert change["before"] != change["after"]


def test_an_edited_function_is_shown_by_its_operation(cli: Cli, folder: Path) -> None:
    (folder / "lib.etude").write_text("fn grow(x) = x * 2\n")
    (folder / "user.etude").write_text(
        'use "lib.etude" as lib\nm = measure(load("numbers.csv"), row => lib.grow(row.x))\n'
    )
    cli("run", "user.etude")
    edit(folder, "x * 2", "x + 2", "lib.etude")
    (change,) = cli("why", "user.etude", "m.measure", "--json").json["changed"]
    assert (change["what"], change["before"], change["after"]) == ("program", "mul(x, 2.0)", "add(x, 2.0)")


def test_a_seed_is_told_as_a_seed(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    first = cli("why", "host.etude", "data.split", "--seed", "7", "--json").json["changed"][0]
    assert first == {"what": "seed", "path": "seed", "before": "0", "after": "7"}


def test_a_glob_means_several_stages(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    found = cli("why", "host.etude", "means*", "--set", "share=20%", "--json").json
    assert [(each["stage"], each["action"]) for each in found["stages"]] == [
        ("means.few", "run"),
        ("means.all", "cached"),
    ]
    assert cli("why", "host.etude", "nothing*").code == 2


def test_a_renamed_recipe_is_compared_with_what_is_most_similar(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    text = (folder / "host.etude").read_text().replace("few", "part")
    (folder / "other.etude").write_text(text)
    found = cli("why", "other.etude", "part", "--set", "share=20%", "--json").json
    assert found["changed"][0]["path"] == "share"
    assert found["compared_with"] == "few, the most similar sample"


def test_results_from_before_accounts_were_kept_are_said_to_be_so(cli: Cli, folder: Path) -> None:
    cli("run", "host.etude")
    with sqlite3.connect(folder / ".etude" / "accounts.sqlite") as table:
        table.execute("DELETE FROM accounts")
    table.close()
    found = cli("why", "host.etude", "few", "--set", "share=20%", "--json").json
    assert found["changed"] == []
    assert "did not keep what stages do" in found["reason"]


def test_models_in_another_order_are_told_as_that(cli: Cli, folder: Path) -> None:
    text = (
        'digits = load("sklearn:digits")\nnet = convnet(widths = [2])\nhead = linear(10)\n'
        "t = train(on = digits, update = {net, head}, budget = 2steps) "
        "{ loss = ({image, label}) => cross_entropy(head(net(image)), label) }\n"
    )
    (folder / "pair.etude").write_text(text)
    cli("run", "pair.etude")
    edit(folder, "{net, head}", "{head, net}", "pair.etude")
    found = cli("why", "pair.etude", "t", "--json").json
    assert (found["action"], found["reason"]) == ("run", "the order of its models or weights is another")


def test_of_several_runs_the_one_with_the_fewest_differences_is_compared_with(cli: Cli, folder: Path) -> None:
    near = cli("run", "host.etude", "--json").json["run"]
    cli("run", "host.etude", "--set", "share=25%", "--seed", "3")
    found = cli("why", "host.etude", "few", "--set", "share=20%", "--json").json
    assert found["compared_with"] == f"few in run {near}"
    assert [change["path"] for change in found["changed"]] == ["share"]
