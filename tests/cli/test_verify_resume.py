"""`etude verify-resume`: trainings that are killed and continued, in processes of their own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from etude.runtime.resuming import StageResumption

Cli = Any
PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()

RECIPE = """
irises = load("sklearn:iris") |> split(train = 80%, valid = 20%)
net = finetune(mlp([8]) >> linear(3), on = irises.train, valid = irises.valid, budget = 50steps)
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.etude").write_text(RECIPE)
    return tmp_path / "recipe.etude"


def test_a_training_is_killed_continued_and_found_equal(cli: Cli, recipe: Path) -> None:
    done = cli("verify-resume", "recipe.etude", "--backend", "torch", "--steps", "8", "--jobs", "1", "--json")

    assert done.code == 0, done.err
    assert done.json["agrees"] is True and done.json["steps"] == 8
    (stage,) = done.json["stages"]
    assert (stage["name"], stage["backend"], stage["difference"], stage["failure"]) == ("net", "torch", None, None)
    assert (stage["steps"], stage["killed_after"], stage["continued_at"]) == (8, 6, 3)
    (shown,) = re.findall(r"^`verify-resume FILE --json`.*?^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    documented = json.loads(shown)
    assert (documented.keys(), documented["stages"][0].keys()) == (done.json.keys(), stage.keys())
    assert not list((recipe.parent / ".etude").glob("runs/*/resume"))
    assert not list((recipe.parent / ".etude" / "partial").iterdir())


def test_a_difference_and_a_failure_are_told_with_exit_code_4(
    cli: Cli, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        StageResumption("s1", "one", "torch", True, 12, 9, 8),
        StageResumption("s2", "two", "torch", False, 12, 9, 8, difference="net.w[0]: 1.0 and 2.0"),
        StageResumption("s3", "three", "torch", False, failure="an input could not be made"),
    ]
    monkeypatch.setattr("etude.runtime.resuming.verify_resumption", lambda *_, **__: found)

    done = cli("verify-resume", "recipe.etude", "--backend", "torch")

    assert done.code == 4
    assert [" ".join(line.split()) for line in done.out.splitlines()] == [
        "✓ agrees one torch killed after step 9 of 12, went on from step 8",
        "✗ differs two torch killed after step 9 of 12, went on from step 8: net.w[0]: 1.0 and 2.0",
        "✗ differs three torch an input could not be made",
    ]


def test_members_of_a_sweep_are_left_out_unless_all_are_asked_for(
    cli: Cli, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = "net = finetune(mlp([8]) >> linear(3), on = irises.train, valid = irises.valid, budget = 50steps)"
    recipe.write_text(RECIPE.replace(net, f"nets = [ {net[6:-1]}, seed = s) for s in 1..3 ]"))
    asked: list[int] = []
    monkeypatch.setattr(
        "etude.runtime.resuming.verify_resumption", lambda *_, only, **__: asked.append(len(only)) or []
    )

    found = cli("verify-resume", "recipe.etude", "--backend", "torch", "--json").json
    everything = cli("verify-resume", "recipe.etude", "--backend", "torch", "--all")

    assert asked == [1, 3]
    assert found["left_out"] == 2
    assert "--all" not in everything.out
    assert "2 more differ" in cli("verify-resume", "recipe.etude", "--backend", "torch").out


def test_wrong_uses_are_refused(cli: Cli, recipe: Path) -> None:
    assert "nothing is in the middle of one" in cli("verify-resume", "recipe.etude", "--steps", "1").err
    wrong = cli("verify-resume", "recipe.etude", "--stage", "nett")
    assert wrong.code == 2 and "did you mean 'net'?" in wrong.err
