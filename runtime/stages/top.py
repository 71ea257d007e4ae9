"""`top`: the rows with the highest value of a row program."""

from __future__ import annotations

import numpy as np

from etude.runtime.rows import row_source, row_values
from etude.runtime.stages import Job, Result, data_result
from etude.runtime.stages.sample import wanted_rows


def execute(job: Job) -> Result:
    """Keep the highest share or number of rows, in their own order; ties go to the earliest, no number comes last."""
    dataset = job.dataset(0)
    (values,) = row_values(job, dataset).values()
    count = wanted_rows(job.spec, dataset.rows)
    falling = np.where(np.isnan(values), np.inf, -values.astype(np.float64))
    kept = dataset.select(np.sort(np.argsort(falling, kind="stable")[:count]))
    result = data_result(kept, rows=kept.rows)
    return Result(result.outputs, result.objects, result.made, row_source(job))
