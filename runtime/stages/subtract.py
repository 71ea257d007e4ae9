"""`subtract`: the rows of one dataset that are not in another."""

from __future__ import annotations

import numpy as np

from etude.runtime.stages import Job, Result, data_result


def execute(job: Job) -> Result:
    """Keep the rows of input 0 whose identity is not in input 1."""
    dataset, other = job.dataset(0), job.dataset(1)
    kept = dataset.select(np.flatnonzero(~np.isin(dataset.ids, other.ids)))
    return data_result(kept, rows=kept.rows)
