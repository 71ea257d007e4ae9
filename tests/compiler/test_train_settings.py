"""What `train` makes of its settings, and that all that is wrong with them is said at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.compiler.workflow import Workflow
from etude.runtime.compiling import compile_text

HEAD = 'digits = load("sklearn:digits") |> split(train = 80%, valid = 20%)\nnet = flatten >> mlp([16, 10])\n'
Compile = Callable[..., Workflow]


@pytest.mark.parametrize(
    ("patience", "every", "found"),
    [
        ("4", "1epochs", 4),
        ("5epochs", "1epochs", 5),
        ("5epochs", "2epochs", 3),
        ("1epochs", "4epochs", 1),
        ("500steps", "100steps", 5),
        ("0.5epochs", "0.25epochs", 2),
        ("3epochs", "10steps", {"epochs": 3}),
        ("1ksteps", "1epochs", {"steps": 1000}),
        ("500examples", "1epochs", {"examples": 500}),
    ],
)
def test_patience_is_a_number_of_validations_or_a_duration(
    tmp_path: Path, patience: str, every: str, found: Any
) -> None:
    text = f"""{HEAD}m = finetune(net, on = digits.train, valid = digits.valid, keep = last, patience = {patience},
      budget = 20epochs)
    t = train(on = digits.train, update = net, valid = digits.valid, patience = {patience}, valid_every = {every}) {{
      loss = (x, y) => cross_entropy(net(x), y)
    }}"""
    compilation = compile_text(text, "test.etude", tmp_path)
    assert not compilation.has_errors, [d.message for d in compilation.diagnostics]
    (spec,) = (stage.spec for stage in compilation.workflow.stages.values() if stage.name == "t")
    assert spec["patience"] == found


def test_a_duration_in_the_unit_of_the_validations_is_their_number(tmp_path: Path) -> None:
    texts = [
        f"{HEAD}m = finetune(net, on = digits.train, valid = digits.valid, keep = best, patience = {patience})"
        for patience in ("5", "5epochs")
    ]
    specs = []
    for text in texts:
        workflow = compile_text(text, "test.etude", tmp_path).workflow
        assert workflow is not None
        specs.append(next(stage.spec for stage in workflow.stages.values() if stage.kind == "train"))
    assert specs[0] == specs[1]
