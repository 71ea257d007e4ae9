"""`column`: a column of a dataset as a tensor."""

from __future__ import annotations

import numpy as np

from etude.runtime.arrays import Array
from etude.runtime.stages import Job, Result, StageError
from etude.runtime.stages.train import put_weights


def execute(job: Job) -> Result:
    """Put the rows of a column into a file. Raises `StageError` where there are not as many as were counted on."""
    dataset = job.dataset(0)
    values = np.asarray(dataset.column(job.spec["column"]))
    check_rows(job, values)
    return Result({"tensor": put_weights(job, [values])}, made={"rows": dataset.rows})


def check_rows(job: Job, values: Array) -> None:
    """Shapes before the run were made with this number of rows. Raises `StageError` if there are others."""
    expected = job.spec["rows"]
    if expected is not None and len(values) != expected:
        raise StageError(f"expected {expected} rows, got {len(values)}", hint="ask for no more than there are")
