"""`filter`: the rows for which a row program says true."""

from __future__ import annotations

import numpy as np

from etude.runtime.rows import row_source, row_values
from etude.runtime.stages import Job, Result, data_result


def execute(job: Job) -> Result:
    """Keep rows by the program's one output."""
    dataset = job.dataset(0)
    (keep,) = row_values(job, dataset).values()
    kept = dataset.select(np.flatnonzero(keep))
    result = data_result(kept, rows=kept.rows)
    return Result(result.outputs, result.objects, result.made, row_source(job))
