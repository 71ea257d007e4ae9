"""What operations take beside what they read and give, and how many there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etude.backends.program.serialize import program_from_json
from etude.compiler.workspaces import operation_count, workspace_bytes
from etude.runtime.compiling import compile_text

RECIPE = """
digits = load("sklearn:digits")
net    = conv2d(4, kernel = 3) >> relu >> flatten >> BODY
t      = train(on = digits, update = {net: net}) { loss = (x, y) => cross_entropy(net(x), y) }
"""


def program_of(body: str = "linear(10)") -> Any:
    workflow = compile_text(RECIPE.replace("BODY", body), "recipe.etude", Path()).workflow
    assert workflow is not None
    stage = next(stage for stage in workflow.stages.values() if stage.kind == "train")
    return program_from_json(stage.spec["steps"][0]["loss"])


def test_the_largest_workspace_of_an_operation_is_a_share_of_what_it_reads_and_gives() -> None:
    images, weights, given = 32 * 8 * 8, 3 * 3 * 4, 32 * 8 * 8 * 4

    found = workspace_bytes(program_of(), 32, {"conv": 1.5})

    assert 1.5 * 4 * (images + weights + given) <= found <= 1.5 * 4 * (images + weights + given + 4)  # and a bias
    assert workspace_bytes(program_of(), 32, {"conv": 1.5, "relu": 100.0}) == 100 * 4 * 2 * given
    assert workspace_bytes(program_of(), 32, {}) == 0


def test_a_block_that_is_used_often_is_counted_once() -> None:
    once, thrice = (operation_count(program_of(f"chain([linear(64) for _ in 1..{n}]) >> linear(10)")) for n in (1, 3))

    assert operation_count(program_of()) < once
    assert thrice - once < 2 * (once - operation_count(program_of()))
