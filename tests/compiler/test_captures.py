"""Members of a sweep share the tracing of their losses, and only those that do the same."""

from __future__ import annotations

from typing import Any

from etude.compiler.pipeline import compile_recipe
from etude.compiler.schema import ColumnSchema, SourceSchema

DIGITS = SourceSchema(
    columns=(
        ColumnSchema(name="image", kind="tensor", dtype="float32", shape=(8, 8, 1)),
        ColumnSchema(name="label", kind="label", dtype="int32", shape=(), classes=10, is_target=True),
    ),
    rows=100,
)


def trainings(text: str) -> list[dict[str, Any]]:
    """The specs of the trainings of a recipe, in order."""

    def describe(uri: str, options: Any) -> SourceSchema:
        return DIGITS

    def nothing(path: str) -> str:
        raise FileNotFoundError(path)

    found = compile_recipe(text, describe_source=describe, read_module=nothing)
    assert found.workflow is not None, found.diagnostics
    return [dict(stage.spec) for stage in found.workflow.stages.values() if stage.kind == "train"]


def loss(spec: dict[str, Any]) -> str:
    return str(spec["steps"][0]["loss"]["digest"])


HEAD = 'd = load("digits")\nnet = flatten >> linear(10)\n'


def test_seeds_share_a_program_and_keep_their_own_weights() -> None:
    specs = trainings(HEAD + "xs = [finetune(net, on = d, budget = 1epochs, seed = s) for s in 1..3]")
    assert len({loss(spec) for spec in specs}) == 1
    assert specs[0]["steps"][0]["loss"]["subs"] == specs[1]["steps"][0]["loss"]["subs"]
    assert [spec["slots"][0]["source"]["fresh"]["seed"] for spec in specs] == [1, 2, 3]


def test_what_a_loss_captures_tells_its_programs_apart() -> None:
    specs = trainings(
        HEAD
        + "xs = [finetune(net, on = d, loss = (m, x, y) => k * cross_entropy(m(x), y), budget = 1epochs)"
        + " for k in [1.0, 2.0, 2.0]]"
    )
    assert len({loss(spec) for spec in specs}) == len(specs) == 2


def test_models_of_a_sweep_are_traced_each_for_itself() -> None:
    specs = trainings('d = load("digits")\nxs = [finetune(flatten >> mlp([w, 10]), on = d) for w in [4, 8]]')
    assert [spec["slots"][0]["shape"] for spec in specs] == [[64, 4], [64, 8]]
    assert len({loss(spec) for spec in specs}) == 2


def test_a_model_that_was_trained_is_another_model() -> None:
    specs = trainings(
        HEAD
        + "first = finetune(net, on = d, budget = 1epochs)\n"
        + "xs = [finetune(m, on = d, budget = 1epochs, seed = 5) for m in [net, first]]"
    )
    assert [("fresh" in spec["slots"][0]["source"]) for spec in specs] == [True, True, False]
