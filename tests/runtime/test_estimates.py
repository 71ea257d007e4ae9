"""What stages will cost, before they run."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.compiler.workflow import Workflow
from etude.runtime.compiling import compile_text
from etude.runtime.estimates import USUAL, Estimate, at_rates, estimate_stages, memory_bytes

RECIPE = """digits = load("sklearn:digits") |> split(train = 80%, test = 20%)
few    = digits.train |> sample(10%)
net    = flatten >> linear(10)
short  = finetune(net, on = few, budget = 2epochs)
long   = finetune(net, on = few, budget = 20epochs)
wide   = finetune(net, on = digits.train, budget = 2epochs)
report { accuracy = accuracy(short, on = digits.test) }
"""


@pytest.fixture(scope="module")
def estimates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Estimate]:
    """By the name of the stage."""
    folder = tmp_path_factory.mktemp("recipe")
    workflow = compile_text(RECIPE, "r.etude", folder).workflow
    assert isinstance(workflow, Workflow)
    found = estimate_stages(workflow, folder)
    return {stage.name: found[stage.id] for stage in workflow.stages.values()}


def test_rows_are_followed_through_the_data_stages(estimates: dict[str, Estimate]) -> None:
    assert estimates["few"].rows == 1438
    assert estimates["short"].rows == 144
    assert estimates["report.accuracy"].rows == 359


def test_more_epochs_cost_more(estimates: dict[str, Estimate]) -> None:
    assert estimates["long"].flops > 5 * estimates["short"].flops
    assert estimates["long"].seconds > estimates["short"].seconds > 0


def test_more_rows_cost_more_but_no_more_memory(estimates: dict[str, Estimate]) -> None:
    assert estimates["wide"].flops > 5 * estimates["short"].flops
    assert estimates["wide"].device_bytes == estimates["short"].device_bytes


def test_parameters_are_those_that_learn(estimates: dict[str, Estimate]) -> None:
    assert estimates["short"].parameters == 64 * 10 + 10


def test_what_needs_more_memory_than_there_is_does_not_fit() -> None:
    assert Estimate(device_bytes=memory_bytes()).fits
    assert not Estimate(device_bytes=memory_bytes() + 1).fits


def test_a_source_that_is_gone_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("x\n1\n2\n")
    workflow = compile_text('m = measure(load("x.csv"), row => row.x)', "r.etude", tmp_path).workflow
    assert workflow is not None
    (tmp_path / "x.csv").unlink()
    assert [each.rows for each in estimate_stages(workflow, tmp_path).values()] == [None, None]


def test_a_training_by_time_takes_its_time_and_probes_and_parts_count(tmp_path: Path) -> None:
    text = """digits = load("sklearn:digits")
net    = flatten >> mlp([64, 10])
shared = {loss: ({image, label}) => cross_entropy(net(image), label), batch: 64}
timed  = train(on = digits, update = {net: net}, ...shared, budget = 90s)
plain  = train(on = digits, update = {net: net}, ...shared, budget = 20steps)
parts  = train(on = digits, update = {net: net}, ...shared, budget = 20steps, accumulate = 8)
probed = train(on = digits, update = {net: net}, ...shared, budget = 20steps) {
  watch       = {right: m => accuracy(m, on = digits)}
  watch_every = 1steps
}
"""
    workflow = compile_text(text, "r.etude", tmp_path).workflow
    assert isinstance(workflow, Workflow)
    found = estimate_stages(workflow, tmp_path)
    costs = {stage.name: found[stage.id] for stage in workflow.stages.values()}
    assert at_rates(costs, USUAL)["timed"].seconds == 90
    assert costs["timed"].steps > 20
    assert costs["parts"].device_bytes < costs["plain"].device_bytes
    assert costs["probed"].flops > 5 * costs["plain"].flops
