"""`edit`: weights computed from weights, by a program of one row whose columns are the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from etude.backends.base import Array, Ids
from etude.backends.inputs import initial_weights
from etude.compiler.keys import canonical_json
from etude.runtime.collecting import collected
from etude.runtime.datasets import row_identities
from etude.runtime.rows import program_pieces, row_backend, row_source
from etude.runtime.stages import Job, Result
from etude.runtime.stages.train import put_weights

Json = Any


def execute(job: Job) -> Result:
    """Run the program once; its outputs are weights, in order."""
    columns, ids = weights_row(job, job.spec)
    values = collected(job.store.objects, program_pieces(job, columns, ids))
    made = [values[str(index)][0] for index in range(len(values))]
    return Result({"0": put_weights(job, made)}, made={"backend": row_backend(job).describe()}, source=row_source(job))


def weights_row(job: Job, spec: Mapping[str, Json]) -> tuple[dict[str, Array], Ids]:
    """The given weights as the columns of one row."""
    given = spec["given"]
    inputs = {entry["source"]["input"] for entry in given if "input" in entry["source"]}
    weights = initial_weights(given, {index: job.weights(index) for index in sorted(inputs)})
    columns = {f"w{index}": weight[None] for index, weight in enumerate(weights)}
    identity = canonical_json(["edit", spec["identity"], spec["seed"]])
    return columns, row_identities(hashlib.sha256(identity).hexdigest(), 1)
