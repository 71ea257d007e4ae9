"""`heatmap`: a matrix of measured values; the names of its rows and columns stay in the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.runtime.expressions import Evaluation
from etude.runtime.stages import Job, Result, StageError

Json = Any


def execute(job: Job) -> Result:
    """Evaluate the rows; of a matrix that was not measured there is nothing. Raises `ExpressionError`, `StageError`."""
    values = Evaluation(job.values()).value(job.spec["expression"])
    if None in values:
        values = []
    if any(not isinstance(row, list) or len(row) != len(values[0]) for row in values):
        raise StageError("the rows of a heat map are lists of one length")
    if any(isinstance(each, list) for row in values for each in row):
        raise StageError("the rows of a heat map are lists of numbers, got lists of lists")
    names = job.spec["columns"]
    if values and names is not None and len(names) != len(values[0]):
        raise StageError(f"the heat map has {len(values[0])} columns and {len(names)} names for them")
    return Result({"figure": job.store.objects.put_json({"values": values})})


def presented(spec: Mapping[str, Any], value: Json) -> Json:
    """The figure with the recipe's names, numbers where it gives none."""
    values = value["values"]
    rows = spec["rows"] or [str(n) for n in range(len(values))]
    columns = spec["columns"] or [str(n) for n in range(len(values[0]) if values else 0)]
    return {**value, "rows": rows, "columns": columns, "x": spec["x"], "y": spec["y"]}
