"""Which stages are repetitions of which."""

from __future__ import annotations

from etude.compiler.draw.repeats import repeat_classes, settings, stem, sweep_text
from etude.compiler.workflow import Ref, Stage, Workflow


def class_sizes(workflow: Workflow) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for first in repeat_classes(workflow).values():
        name = workflow.stages[first].name
        sizes[name] = sizes.get(name, 0) + 1
    return sizes


def test_members_of_a_sweep_are_one_class_each(sweep: Workflow) -> None:
    assert class_sizes(sweep) == {
        "digits": 1,
        "digits.split": 1,
        "trials[seed=1].teacher": 3,
        "trials[seed=1].student": 3,
        "scores[t=0].teacher": 3,
        "scores[t=0].student": 3,
        "expect": 1,
        "report.accuracy": 1,
    }


def test_rounds_of_a_loop_repeat_from_the_second_on(rounds: Workflow) -> None:
    sizes = class_sizes(rounds)
    assert sizes["final[round=1].model"] == 1
    assert sizes["final[round=2].model"] == 3
    assert sizes["final[round=2].pseudo"] == 3


def test_stages_of_one_name_on_different_inputs_are_not_repetitions() -> None:
    workflow = Workflow("x")
    for id, name, inputs in [
        ("s1", "a", ()),
        ("s2", "b", ()),
        ("s3", "m", (Ref("s1", ""),)),
        ("s4", "m#2", (Ref("s2", ""),)),
    ]:
        workflow.stages[id] = Stage(id, name, "map", {}, inputs, {"": "Dataset"})
    assert set(repeat_classes(workflow).values()) == {"s1", "s2", "s3", "s4"}


def test_a_stem_has_no_brackets_no_copies_and_no_dangling_dots() -> None:
    assert stem("runs[lr=0.1, seed=3].teacher#2") == "runs.teacher"
    assert stem("trials.[seed=1]") == "trials"


def test_settings_are_read_from_all_brackets() -> None:
    assert settings("runs[lr=0.1, seed=3].final[0]") == {"lr": "0.1", "seed": "3", "": "0"}


def test_a_sweep_is_told_by_what_varies() -> None:
    names = [f"r[lr={lr}, seed={seed}]" for lr in ("0.1", "0.2") for seed in (1, 2, 3)]
    assert sweep_text(names) == "lr 0.1, 0.2, seed 1…3"
    assert sweep_text(["only"]) == ""


def test_what_the_first_member_made_for_all_sets_none_apart() -> None:
    """The first member of a sweep bears the stage that all share, and another of its stages the name of the sweep."""
    workflow = Workflow("x")
    stages = [("s1", "m[i=1]", "drop", "1", ()), ("s2", "m[i=1].train", "train", "1", (Ref("s1", ""),))]
    stages += [(f"s{i + 1}", f"m[i={i}]", "train", str(i), (Ref("s1", ""),)) for i in (2, 3)]
    for id, name, kind, i, inputs in stages:
        workflow.stages[id] = Stage(id, name, kind, {}, inputs, {"": "Model"}, (f"m.[i={i}]",), "net")
    assert repeat_classes(workflow) == {"s1": "s1", "s2": "s2", "s3": "s2", "s4": "s2"}
