"""`rows`: a dataset of the values that a recipe writes down, and of measured ones."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from etude.compiler.keys import canonical_json
from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array, write_array
from etude.runtime.datasets import IDS, Column, Dataset, row_identities
from etude.runtime.expressions import Evaluation
from etude.runtime.stages import Job, Result, StageError, data_result


def execute(job: Job) -> Result:
    """Evaluate every cell. Raises `StageError` for a measured value that does not exist."""
    schemas = [ColumnSchema(name, kind, dtype, tuple(shape)) for name, kind, dtype, shape in job.spec["schema"]]
    root = hashlib.sha256(canonical_json(["rows", dict(job.spec), list(job.inputs)])).hexdigest()
    ids = row_identities(root, job.spec["count"])
    empty = Dataset(job.store, len(ids), {}, Column(IDS, write_array(job.store.objects, ids)))
    evaluation = Evaluation(job.values())
    arrays: dict[str, Array] = {}
    for index, schema in enumerate(schemas):
        values = [_value(job, evaluation, row[index], schema.name) for row in job.spec["cells"]]
        arrays[schema.name] = np.asarray(values, object if schema.kind == "text" else schema.dtype)
    return data_result(empty.with_columns(schemas, arrays), rows=len(ids))


def _value(job: Job, evaluation: Evaluation, cell: Any, column: str) -> Any:
    if cell[0] == "tensor":
        return job.weights(cell[1])[0]
    value = evaluation.value(cell)
    if value is None or (isinstance(value, list) and None in value):
        raise StageError(f'column "{column}": a measured value has no value')
    return value
