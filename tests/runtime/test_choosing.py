"""`best`, compiled and run: the choice is made by measured values."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.runtime.compiling import compile_text
from etude.runtime.runner import run
from etude.runtime.store import Store

HEAD = """
irises = load("sklearn:iris")
parts  = [{k, data: filter(irises, ({label}) => label == k)} for k in [1, 0, 2]]
fn size(part) = measure(on = part.data, ({features}) => features[2])
"""


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ("best(parts, by = size)", 2),  # the petals of the third kind are the longest
        ("best(parts, by = size, lower = true)", 0),
        ("best(parts, by = p => 1)", 1),  # of equal ones the first
        ("best(parts, by = size, where = p => size(p) < 5)", 1),
        ("best(parts, by = size, where = p => size(p) < 2)", 0),
        ("best(parts, by = size, lower = true, where = p => size(p) > 2)", 1),
    ],
)
def test_the_element_with_the_best_measured_score_is_taken(choice: str, chosen: int, tmp_path: Path) -> None:
    text = f"{HEAD}chosen = {choice}\nk = chosen.k + 0\nits = measure(on = chosen.data, ({{label}}) => float(label))\n"
    workflow = compile_text(text, "choice.etude", Path()).workflow
    assert workflow is not None
    result = run(workflow, store=Store(tmp_path / "store"), backend="torch", base=Path(), jobs=1)
    assert not result.failed
    assert (result.metrics["k"], result.metrics["its"]) == (chosen, chosen)
