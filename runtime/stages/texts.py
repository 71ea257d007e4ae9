"""`texts`: the first texts of a dataset as a table."""

from __future__ import annotations

from typing import Any

from etude.runtime.stages import Job, Result


def execute(job: Job) -> Result:
    """Take the first rows of a column of texts, and of the columns beside it."""
    dataset, names = job.dataset(0), job.spec["columns"]
    rows = slice(0, min(job.spec["count"], dataset.rows))
    columns = [[_plain(value) for value in dataset.reader(name)[rows]] for name in names]
    table = {"columns": names, "rows": [list(row) for row in zip(*columns, strict=True)]}
    return Result({"table": job.store.objects.put_json(table)})


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else value.item()
