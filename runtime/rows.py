"""Row programs over whole datasets: on the host with numpy, or on the chosen backend where there are weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from etude.backends.base import Columns, RowBackend
from etude.compiler.keys import differentiates
from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array
from etude.runtime.collecting import collected
from etude.runtime.datasets import Dataset, Ids
from etude.runtime.stages import Job, LazyColumns, StageError, loaded_backend

Json = Any


def row_backend(job: Job) -> RowBackend:
    """The backend of a job's row program: numpy where no weights or derivatives are used."""
    return (
        job.backend()
        if job.spec["slots"] or differentiates(job.spec)
        else loaded_backend("numpy", "cpu", job.settings.threads)
    )


def row_values(job: Job, dataset: Dataset) -> dict[str, Array]:
    """Every output of the job's program for all rows, each [rows, ...] by name."""
    return collected(job.store.objects, row_pieces(job, dataset))


def row_pieces(job: Job, dataset: Dataset) -> Iterator[dict[str, Array]]:
    """The outputs of the job's program for consecutive rows, a few MiB at a time."""
    return program_pieces(job, LazyColumns(dataset), dataset.ids)


def program_pieces(job: Job, columns: Columns, ids: Ids) -> Iterator[dict[str, Array]]:
    """The outputs of the job's program for the rows with these identities; its weights are inputs of the job."""
    weights = {index: job.weights(index) for index in _weight_inputs(job)}
    return job.until_stopped(row_backend(job).pieces(job.spec, columns, ids, weights))


def row_source(job: Job) -> str:
    """The object with the Python source that the row program became."""
    return job.store.objects.put(row_backend(job).source(job.spec).encode())


def store_columns(job: Job, dataset: Dataset, pieces: Iterator[Mapping[str, Array]]) -> Dataset:
    """The dataset with the columns that the job's spec declares, stored as they come. Raises `StageError` for a value
    that is no class of its label."""
    schemas = [column_schema(*column) for column in job.spec["columns"]]
    return dataset.with_pieces(schemas, _checked(schemas, pieces))


def _checked(schemas: Sequence[ColumnSchema], pieces: Iterator[Mapping[str, Array]]) -> Iterator[Mapping[str, Array]]:
    labels, first = [schema for schema in schemas if schema.kind == "label"], 0
    for values in pieces:
        for schema in labels:
            check_classes(schema, values[schema.name], first)
        yield values
        first += len(next(iter(values.values()), ()))


def column_schema(name: str, type: Json, kind: Json) -> ColumnSchema:
    """The schema of a new column: `type` is [dtype, shape], `kind` says whether it is a label."""
    dtype, shape = type
    names = kind.get("names")
    return ColumnSchema(
        name, kind["kind"], dtype, tuple(shape), kind.get("classes"), None if names is None else tuple(names)
    )


def check_classes(schema: ColumnSchema, values: Array, first: int = 0) -> None:
    """Refuse numbers that are no class of the label; `first` is the row that the values begin with."""
    bad = np.flatnonzero((values < 0) | (values >= (schema.classes or 0)))
    if len(bad):
        raise StageError(f'column "{schema.name}": expected {schema}, got {values[bad[0]]} in row {first + bad[0]}')


def _weight_inputs(job: Job) -> set[int]:
    return {slot["source"]["input"] for slot in job.spec["slots"] if "input" in slot["source"]}
