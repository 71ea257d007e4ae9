"""`table`: a list of records as columns and rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.runtime.expressions import Evaluation
from etude.runtime.stages import Job, Result, StageError

Json = Any


def execute(job: Job) -> Result:
    """Evaluate the records. Raises `ExpressionError`, `StageError`."""
    records = Evaluation(job.values()).value(job.spec["expression"])
    return Result({"table": job.store.objects.put_json(tabulated(records))})


def tabulated(records: Json) -> Json:
    """Columns in the order of their first appearance; a field that a record lacks is None.

    >>> tabulated([{"lr": 0.1, "accuracy": 0.5}, {"lr": 0.2}])
    {'columns': ['lr', 'accuracy'], 'rows': [[0.1, 0.5], [0.2, None]]}
    """
    rows = records if isinstance(records, list) else [records]
    for row in rows:
        if not isinstance(row, Mapping):
            raise StageError(f"a table is made of records, got {row}")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {"columns": columns, "rows": [[row.get(name) for name in columns] for row in rows]}
