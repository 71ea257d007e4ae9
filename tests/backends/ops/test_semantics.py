"""What an operation means enters the keys of stages as its `semantics` number, which is raised when numbers change."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from etude.backends.ops import find

GOLDEN = Path(__file__).parent / "semantics.json"


def semantics(case: Any) -> int:
    operation = find(case.name)
    assert operation is not None
    return operation.semantics


def fingerprint(case: Any, harness: Any) -> list[float]:
    """One number for each result: a weighted sum, which moves when an element does."""
    results = harness.run(case.program(), "numpy", case.values(), harness.batch)
    finite = [np.nan_to_num(np.asarray(result, np.float64), posinf=9.0, neginf=-9.0) for result in results]
    return [float(np.sum(np.cos(np.arange(x.size)).reshape(x.shape) * x)) for x in finite]


def test_the_numbers_of_an_operation_change_only_with_its_semantics(harness: Any) -> None:
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    found = {str(case): [semantics(case), fingerprint(case, harness)] for case in harness.cases}
    changed = [
        text
        for text, (number, values) in found.items()
        if text in known and known[text][0] == number and not np.allclose(known[text][1], values, rtol=1e-4, atol=1e-5)
    ]
    assert not changed, "raise `semantics` of these operations, then accept with ETUDE_ACCEPT=1"
    if os.environ.get("ETUDE_ACCEPT"):
        lines = (f"{json.dumps(text)}: {json.dumps(found[text])}" for text in sorted(found))
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        return
    assert {text: number for text, (number, _) in known.items()} == {
        text: number for text, (number, _) in found.items()
    }
