"""`map`: new columns from a row program."""

from __future__ import annotations

from etude.runtime.missing_numbers import Missing
from etude.runtime.rows import row_backend, row_pieces, row_source, store_columns
from etude.runtime.stages import Job, Result, data_result


def execute(job: Job) -> Result:
    """Run the program over all rows; `keep` names the input columns that pass through."""
    dataset = job.dataset(0)
    kept = dataset.keep(job.spec["keep"]).renamed(dataset, job.spec.get("renamed", ()))
    mapped, missing = kept, Missing()
    if job.spec["columns"]:
        pieces = missing.passed(row_pieces(job, dataset), [name for name, *_ in job.spec["columns"]])
        mapped = store_columns(job, kept, pieces)
    for text in missing.texts("no number (NaN)", mapped.rows):
        job.warn(text)
    made = {"rows": mapped.rows, "backend": row_backend(job).describe()}
    result = data_result(mapped)
    return Result(result.outputs, result.objects, made, row_source(job))
