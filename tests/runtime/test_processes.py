"""The memory of trainings on a processor."""

from __future__ import annotations

from pathlib import Path

from etude.runtime.compiling import compile_text
from etude.runtime.estimates import estimate_stages, training_bytes
from etude.runtime.processes import FRAMEWORKS, memory_bytes_of, on_processor, process_bytes

RECIPE = """
use std.vision
digits = load("sklearn:digits")
plain  = finetune(flatten >> mlp([64]) >> linear(10), on = digits, budget = 2steps)
pooled = finetune(convnet(widths = [16, 16], out = 16) >> linear(10), on = digits, budget = 2steps)
"""


def test_frameworks_take_their_shares_and_convolutions_their_workspaces() -> None:
    workflow = compile_text(RECIPE, "recipe.etude", Path()).workflow
    assert workflow is not None
    estimates = estimate_stages(workflow, Path())
    plain, pooled = (next(s for s in workflow.stages.values() if s.name == name) for name in ("plain", "pooled"))

    for backend, framework in FRAMEWORKS.items():
        found = on_processor(workflow, estimates, backend)
        assert estimates[plain.id].device_bytes == training_bytes(plain.spec, 64)
        assert found[plain.id].device_bytes == int(framework.share * training_bytes(plain.spec, 64))
        assert found[pooled.id].device_bytes > framework.share * training_bytes(pooled.spec, 64)
        whole, own = process_bytes(pooled.spec, 64, backend), memory_bytes_of(pooled.spec, 64, backend)
        assert found[pooled.id].device_bytes == own < whole - framework.start + 1
        assert found.keys() == estimates.keys()
