"""`table`: a list of rows of cells; the names of the columns stay in the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.runtime.expressions import Evaluation
from etude.runtime.stages import Job, Result

Json = Any


def execute(job: Job) -> Result:
    """Evaluate the cells. Raises `ExpressionError`."""
    rows = Evaluation(job.values()).value(job.spec["expression"])
    return Result({"table": job.store.objects.put_json({"rows": rows})})


def presented(spec: Mapping[str, Any], value: Json) -> Json:
    """The table with the recipe's names on its columns."""
    return {"columns": spec["columns"], **value}
