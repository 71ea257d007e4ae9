"""`drop`: a dataset without some of its columns."""

from __future__ import annotations

from etude.runtime.stages import Job, Result, StageError, data_result


def execute(job: Job) -> Result:
    """Leave out the columns of the spec. Raises `StageError` for one that is not there."""
    dataset, dropped = job.dataset(0), job.spec["columns"]
    for name in dropped:
        if name not in dataset.columns:
            raise StageError(f'no column is called "{name}"', hint=f"columns: {', '.join(dataset.columns)}")
    return data_result(dataset.keep(name for name in dataset.columns if name not in dropped), rows=dataset.rows)
