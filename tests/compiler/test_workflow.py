"""What becomes a stage, how stages are named, and what leaves their keys alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etude.compiler.keys import stage_key
from etude.compiler.workflow import Workflow

Compile = Callable[..., Workflow]
RECIPE = """
net = flatten >> mlp([16, 10])
m = finetune(net, on = digits.train, budget = 3epochs)
acc = accuracy(m, on = digits.test)
"""


def keys(workflow: Workflow) -> set[str]:
    """The keys of all stages, with each input known by the key of the stage that makes it."""
    made: dict[str, str] = {}
    for stage in workflow.stages.values():
        inputs = [f"{made[ref.stage]}/{ref.port}" for ref in stage.inputs] or ["source"]
        made[stage.id] = stage_key(stage, inputs, "torch", "float32")
    return set(made.values())


@pytest.mark.parametrize(
    "edited",
    [
        RECIPE.replace("net", "tower").replace("fitower", "finet").replace("m =", "mine =").replace("(m,", "(mine,"),
        "# a comment\n" + RECIPE.replace(",", " , "),
        "\n".join(reversed(RECIPE.strip().splitlines())),
        RECIPE.replace("3epochs", "2epochs + 1epochs"),
        RECIPE.replace("flatten >>", "(x => flatten(x)) >>"),
    ],
    ids=["renamed", "reformatted", "reordered", "the same number written otherwise", "wrapped in a function"],
)
def test_harmless_edits_leave_every_key_alone(compiled: Compile, edited: str) -> None:
    assert keys(compiled(edited)) == keys(compiled(RECIPE))


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [("3epochs", "4epochs", 2), ("16", "17", 2), ("digits.test", "digits.train", 3), ("80%", "70%", 1)],
)
def test_a_real_edit_changes_its_stage_and_what_depends_on_it(compiled: Compile, old: str, new: str, kept: int) -> None:
    prelude = 'digits = load("sklearn:digits") |> split(train = 80%, test = 20%)\n'
    before = keys(compiled(RECIPE, prelude=prelude))
    after = keys(compiled(RECIPE.replace(old, new), prelude=prelude.replace(old, new)))
    assert len(before & after) == kept


def test_equal_stages_are_one(compiled: Compile) -> None:
    workflow = compiled(
        """
        a = finetune(flatten >> linear(10), on = digits.train)
        b = finetune(flatten >> linear(10), on = digits.train)
        """
    )
    assert sum(s.kind == "train" for s in workflow.stages.values()) == 1


def test_a_sweep_names_its_stages_by_what_tells_them_apart(compiled: Compile) -> None:
    workflow = compiled(
        """
        grid = [finetune(flatten >> linear(10), on = digits.train, optimizer = adamw(lr = lr), seed = s)
                for lr in [1e-3, 1e-2] for s in 1..2]
        """
    )
    assert [s.name for s in workflow.stages.values() if s.kind == "train"] == [
        "grid[lr=0.001, s=1]",
        "grid[lr=0.001, s=2]",
        "grid[lr=0.01, s=1]",
        "grid[lr=0.01, s=2]",
    ]


def test_a_binding_of_the_top_level_has_the_seed_of_the_recipe_wherever_it_is_first_used(compiled: Compile) -> None:
    workflow = compiled(
        """
        ms = runs(5..6, s => finetune(flatten >> linear(10), on = few))
        few = digits.train |> sample(10%)
        """
    )
    assert [s.spec["seed"] for s in workflow.stages.values() if s.kind == "sample"] == [0]


def test_a_claim_keeps_what_it_compares(compiled: Compile) -> None:
    workflow = compiled(RECIPE + 'expect acc > 0.9 because "it is easy"')
    (claim,) = workflow.claims
    assert (claim.text, claim.because) == ("acc > 0.9", "it is easy")
    spec = workflow.stages[claim.stage].spec
    assert spec["expression"] == ["gt", ["input", 0], ["number", 0.9]]
    assert spec["shown"] == [["acc", ["input", 0]]]


def test_a_param_can_be_set_from_outside(compiled: Compile) -> None:
    text = "param width: int = 16 in 1..64\nm = finetune(flatten >> mlp([width, 10]), on = digits.train)"
    assert compiled(text).params == {"width": 16}
    assert compiled(text, overrides={"width": "32"}).params == {"width": 32}


def test_a_model_of_the_top_level_is_listed_with_the_origin_of_its_weights(compiled: Compile) -> None:
    workflow = compiled(RECIPE)
    (binding,) = workflow.models
    assert binding.name == "m"
    assert [shape for _, shape, _ in binding.weights] == [(64, 16), (16,), (16, 10), (10,)]
    assert all(source["input"][1] == "0" for _, _, source in binding.weights)


def test_columns_that_a_function_never_looks_at_are_no_part_of_its_stage(compiled: Compile) -> None:
    text = """
        d = digits.train |> map(row => {...row, extra: mean(row.image)})
        x = measure(on = d, ({image}) => mean(image))
    """
    stage = next(s for s in compiled(text).stages.values() if s.kind == "measure")
    assert [name for name, *_ in stage.spec["program"]["subs"][-1]["inputs"]] == ["image"]


def test_handed_through_columns_are_kept_and_not_computed(compiled: Compile) -> None:
    text = "d = digits.train |> map(row => {...row, extra: mean(row.image)})"
    spec = next(s for s in compiled(text).stages.values() if s.kind == "map").spec
    assert spec["keep"] == ["image", "label"]
    assert [name for name, _ in spec["program"]["subs"][-1]["outputs"]] == ["extra"]


def test_a_report_takes_the_fields_of_a_record(compiled: Compile) -> None:
    shown = "shown = {a: measure(on = digits.test, ({image}) => mean(image)), b: acc}\n"
    spread = compiled(RECIPE + shown + "report { ...shown  c = acc  ...{b: shown.a, d: table([{x: acc}])} }")
    plain = compiled(RECIPE + shown + "report { a = shown.a  b = shown.a  c = acc  d = table([{x: acc}]) }")

    assert [name for name, _ in spread.report] == ["a", "b", "c", "d"]
    assert keys(spread) == keys(plain)


def test_an_estimator_is_asked_about_columns_as_about_the_row(compiled: Compile) -> None:
    def asked(function: str) -> set[str]:
        text = "trees = fit(random_forest(3), on = digits.train)\n"
        return keys(compiled(f"{text}right = measure(on = digits.test, {function})"))

    by_columns = asked("({image, label}) => argmax(predict(trees, {image})) == label")
    assert by_columns == asked("row => argmax(predict(trees, row)) == row.label")


def test_the_last_stage_of_a_chain_has_the_name_of_what_it_is_bound_to(compiled: Compile) -> None:
    chain = "x = digits.train |> map(({image, label}) => {label, ink: mean(image)}) |> filter(r => r.ink > 0)"
    text = f'{chain} |> filter(r => r.ink < 1) |> drop("label")\nm = measure(x, ({{ink}}) => ink)'
    stages = [stage for stage in compiled(text).stages.values() if stage.name.startswith("x")]
    assert [(stage.name, stage.kind) for stage in stages] == [
        ("x.map", "map"), ("x.filter", "filter"), ("x.filter#2", "filter"), ("x", "drop"),
    ]  # fmt: skip
