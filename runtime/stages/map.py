"""`map`: new columns from a row program."""

from __future__ import annotations

import time

from etude.backends.program.decoding import places_written
from etude.backends.program.serialize import program_from_json
from etude.runtime.missing_numbers import Missing
from etude.runtime.rows import row_backend, row_pieces, row_source, store_columns
from etude.runtime.stages import Job, Result, data_result


def execute(job: Job) -> Result:
    """Run the program over all rows; `keep` names the input columns that pass through."""
    dataset = job.dataset(0)
    kept = dataset.keep(job.spec["keep"]).renamed(dataset, job.spec.get("renamed", ()))
    mapped, missing, started = kept, Missing(), time.monotonic()
    if job.spec["columns"]:
        pieces = missing.passed(row_pieces(job, dataset), [name for name, *_ in job.spec["columns"]])
        mapped = store_columns(job, kept, pieces)
    for text in missing.texts("no number (NaN)", mapped.rows):
        job.warn(text)
    made = {"rows": mapped.rows, "backend": row_backend(job).describe()}
    places = places_written(program_from_json(job.spec["program"]).sub) if job.spec["columns"] else 0
    if places:
        made |= {"written": places * mapped.rows, "writing_seconds": round(time.monotonic() - started, 4)}
    result = data_result(mapped)
    return Result(result.outputs, result.objects, made, row_source(job))
