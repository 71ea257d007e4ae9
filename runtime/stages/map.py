"""`map`: new columns from a row program."""

from __future__ import annotations

from etude.runtime.rows import row_backend, row_pieces, row_source, store_columns
from etude.runtime.stages import Job, Result, data_result


def execute(job: Job) -> Result:
    """Run the program over all rows; `keep` names the input columns that pass through."""
    dataset = job.dataset(0)
    kept = dataset.keep(job.spec["keep"]).renamed(dataset, job.spec.get("renamed", ()))
    mapped = store_columns(job, kept, row_pieces(job, dataset)) if job.spec["columns"] else kept
    made = {"rows": mapped.rows, "backend": row_backend(job).describe()}
    result = data_result(mapped)
    return Result(result.outputs, result.objects, made, row_source(job))
