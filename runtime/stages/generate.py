"""`generate`: a dataset that a row program without inputs draws."""

from __future__ import annotations

import hashlib

from etude.compiler.keys import canonical_json
from etude.runtime.arrays import write_array
from etude.runtime.datasets import IDS, Column, Dataset, Ids, row_identities
from etude.runtime.rows import program_pieces, row_backend, row_source, store_columns
from etude.runtime.stages import Job, Result, data_result


def execute(job: Job) -> Result:
    """Run the program once for each of `count` rows; all inputs are weights."""
    ids = generated_identities(job.spec["identity"], job.spec["seed"], job.spec["count"])
    rows = Dataset(job.store, len(ids), {}, Column(IDS, write_array(job.store.objects, ids)))
    made = {"rows": rows.rows, "backend": row_backend(job).describe()}
    result = data_result(store_columns(job, rows, program_pieces(job, {}, ids)))
    return Result(result.outputs, result.objects, made, row_source(job))


def generated_identities(identity: str, seed: int, rows: int) -> Ids:
    """One 64-bit number per row, of what draws it and its index; more rows begin with the same ones."""
    return row_identities(hashlib.sha256(canonical_json(["generate", identity, seed])).hexdigest(), rows)
