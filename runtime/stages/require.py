"""`require`: a condition that must hold for what comes after it."""

from __future__ import annotations

from etude.runtime.stages import Job, Result, StageError


def execute(job: Job) -> Result:
    """Hand on that the condition holds. Raises `StageError` with the spec's message where it does not."""
    if job.value(0) is not True:
        raise StageError(job.spec["message"])
    return Result({"value": job.store.objects.put_json(True)})
