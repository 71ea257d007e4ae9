"""`collect`: what a row program makes of every row, as tensors."""

from __future__ import annotations

from etude.runtime.rows import row_backend, row_source, row_values
from etude.runtime.stages import Job, Result
from etude.runtime.stages.column import check_rows
from etude.runtime.stages.train import put_weights


def execute(job: Job) -> Result:
    """Run the program over all rows and put each of its outputs into a file of its own."""
    dataset = job.dataset(0)
    outputs = {}
    for name, values in row_values(job, dataset).items():
        check_rows(job, values)
        outputs[f"tensor.{name}" if name else "tensor"] = put_weights(job, [values])
    made = {"rows": dataset.rows, "backend": row_backend(job).describe()}
    return Result(outputs, made=made, source=row_source(job))
