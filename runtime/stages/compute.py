"""`compute`: an expression over measured values."""

from __future__ import annotations

from etude.runtime.expressions import Evaluation
from etude.runtime.stages import Job, Result


def execute(job: Job) -> Result:
    """Evaluate the expression. Raises `ExpressionError`."""
    return Result({"value": job.store.objects.put_json(Evaluation(job.values()).value(job.spec["expression"]))})
