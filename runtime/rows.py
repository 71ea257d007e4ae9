"""Row programs over whole datasets: on the host with numpy, or on the chosen backend where there are weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etude.backends.base import RowBackend
from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array
from etude.runtime.datasets import Dataset, Ids
from etude.runtime.stages import Job, LazyColumns, StageError, loaded_backend

Json = Any


def row_backend(job: Job) -> RowBackend:
    """The backend of a job's row program: numpy where no weights are used."""
    return job.backend() if job.spec["slots"] else loaded_backend("numpy", "cpu", job.settings.threads)


def row_values(job: Job, dataset: Dataset) -> dict[str, Array]:
    """Every output of the job's program for all rows, each [rows, ...] by name."""
    return program_values(job, LazyColumns(dataset), dataset.ids)


def program_values(job: Job, columns: Mapping[str, Array], ids: Ids) -> dict[str, Array]:
    """Every output of the job's program for the rows with these identities; its weights are inputs of the job."""
    weights = {index: job.weights(index) for index in _weight_inputs(job)}
    return row_backend(job).rows(job.spec, columns, ids, weights)


def row_source(job: Job) -> str:
    """The object with the Python source that the row program became."""
    return job.store.objects.put(row_backend(job).source(job.spec).encode())


def store_columns(job: Job, dataset: Dataset, values: Mapping[str, Array]) -> Dataset:
    """The dataset with the columns that the job's spec declares. Raises `StageError` for a value that is no class of
    its label."""
    schemas = [column_schema(*column) for column in job.spec["columns"]]
    for schema in schemas:
        if schema.kind == "label":
            check_classes(schema, values[schema.name])
    return dataset.with_columns(schemas, values)


def column_schema(name: str, type: Json, kind: Json) -> ColumnSchema:
    """The schema of a new column: `type` is [dtype, shape], `kind` says whether it is a label."""
    dtype, shape = type
    names = kind.get("names")
    return ColumnSchema(
        name, kind["kind"], dtype, tuple(shape), kind.get("classes"), None if names is None else tuple(names)
    )


def check_classes(schema: ColumnSchema, values: Array) -> None:
    """Refuse numbers that are no class of the label."""
    bad = np.flatnonzero((values < 0) | (values >= (schema.classes or 0)))
    if len(bad):
        raise StageError(f'column "{schema.name}": expected {schema}, got {values[bad[0]]} in row {bad[0]}')


def _weight_inputs(job: Job) -> set[int]:
    return {slot["source"]["input"] for slot in job.spec["slots"] if "input" in slot["source"]}
