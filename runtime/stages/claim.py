"""`claim`: the verdict of an `expect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.runtime.claims import judge, named
from etude.runtime.stages import Job, Result


def execute(job: Job) -> Result:
    """Judge the claim by the values that were measured. Raises `ExpressionError`."""
    verdict = judge(job.spec["expression"], job.spec.get("shown", []), job.values())
    return Result({"verdict": job.store.objects.put_json(verdict)})


def presented(spec: Mapping[str, Any], value: Any) -> Any:
    """The verdict with the recipe's texts on its values."""
    return named(value, spec.get("shown", []))
