"""`shuffle`: the rows of a dataset in a random order."""

from __future__ import annotations

from etude.runtime.sampling import hashed_order
from etude.runtime.stages import Job, Result, data_result


def execute(job: Job) -> Result:
    """Order rows by a hash of seed and identity."""
    dataset = job.dataset(0)
    return data_result(dataset.select(hashed_order(dataset.ids, job.spec["seed"])), rows=dataset.rows)
