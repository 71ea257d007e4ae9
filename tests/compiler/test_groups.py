"""Groups of an optimizer: globs become slots, and nothing else of them is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.compiler.globs import matches, nearest_paths
from etude.compiler.keys import canonical_spec
from etude.compiler.workflow import Stage
from etude.runtime.compiling import compile_text

Find = Callable[[str, str], Stage]

RECIPE = """
encoder = mlp([16, 8])
head    = linear(10)
net     = flatten >> encoder >> head
t = train(on = digits.train, update = {UPDATE}) {
  loss      = (x, y) => cross_entropy(net(x), y)
  optimizer = adamw(lr = 1e-3, groups = [GROUPS])
}
"""


def recipe(groups: str, update: str = "net") -> str:
    return RECIPE.replace("GROUPS", groups).replace("{UPDATE}", update)


def grouped(stage: Stage) -> list[dict[str, Any]]:
    """The groups with the paths of their weights."""
    slots = stage.spec["slots"]
    groups = stage.spec["steps"][0]["optimizer"]["groups"]
    return [{**group, "slots": [slots[i]["path"].partition("_")[2] for i in group["slots"]]} for group in groups]


@pytest.mark.parametrize("glob", ["head.**", "net.head.*", "net_head.*"])
def test_a_part_is_named_by_its_own_name_and_below_the_model(stage_named: Find, glob: str) -> None:
    stage = stage_named(recipe(f'{{at: "{glob}", lr: 1e-2}}'), "t")

    assert grouped(stage) == [{"slots": ["head.w", "head.b"], "lr": 0.01}]


def test_a_weight_is_in_the_first_group_that_names_it(stage_named: Find) -> None:
    stage = stage_named(recipe('{at: "**.b", weight_decay: 0.0}, {at: "encoder.**", lr: 1e-4}'), "t")

    assert grouped(stage) == [
        {"slots": ["encoder.layers.0.b", "encoder.layers.1.b", "head.b"], "weight_decay": 0.0},
        {"slots": ["encoder.layers.0.w", "encoder.layers.1.w"], "lr": 1e-4},
    ]


def test_the_keys_of_the_results_are_names_too(stage_named: Find) -> None:
    stage = stage_named(recipe('{at: "top.w", lr: 1e-2}', "{bottom: encoder, top: head}"), "t")

    assert grouped(stage) == [{"slots": ["head.w"], "lr": 0.01}]


def test_the_glob_itself_is_no_part_of_what_the_stage_does(stage_named: Find) -> None:
    first, second = (stage_named(recipe(f'{{at: "{glob}", lr: 1e-2}}'), "t") for glob in ("head.**", "**.head.*"))

    assert canonical_spec(first) == canonical_spec(second)


def test_a_train_without_groups_does_not_mention_them(stage_named: Find) -> None:
    assert "groups" not in stage_named(recipe(""), "t").spec["steps"][0]["optimizer"]


@pytest.mark.parametrize(
    ("groups", "code"),
    [
        ('{at: "nothing", lr: 1e-2}', "E408"),
        ('{at: "**", lr: 1e-2}, {at: "head.w", lr: 1e-3}', "E314"),
        ('{at: "head.w", momentum: 0.9}', "E203"),
        ("{lr: 1e-2}", "E301"),
        ('{at: "head.w", lr: "fast"}', "E301"),
    ],
)
def test_a_group_that_makes_no_sense_is_refused(tmp_path: Path, groups: str, code: str) -> None:
    text = 'digits = load("sklearn:digits") |> split(train = 80%, test = 20%)\n' + recipe(groups)
    found = compile_text(text, "test.etude", tmp_path).diagnostics

    assert [diagnostic.code for diagnostic in found] == [code]


def test_a_star_stays_within_a_segment() -> None:
    assert matches("a.*.w", "a.0.w") and not matches("a.*.w", "a.0.1.w") and matches("a.**.w", "a.0.1.w")
    assert not matches("a.w", "aXw")


def test_the_nearest_paths_come_first() -> None:
    assert nearest_paths("haed.*", ["encoder.w", "head.w", "tail.w"], 1) == ["head.w"]
