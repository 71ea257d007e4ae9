"""`union`: the rows of several datasets with the same columns, one after the other."""

from __future__ import annotations

from functools import reduce

import numpy as np
from msgspec.structs import replace

from etude.compiler.schema import ColumnSchema
from etude.runtime.datasets import Dataset
from etude.runtime.stages import Job, Result, StageError, data_result


def execute(job: Job) -> Result:
    """Append the inputs in order; a whole-number column is fitted to a label of the same name, with a check."""
    datasets = [job.dataset(index) for index in range(len(job.inputs))]
    joined = reduce(appended, datasets)
    return data_result(joined, rows=joined.rows)


def appended(first: Dataset, second: Dataset) -> Dataset:
    """The rows of both. Raises `StageError` where their columns do not fit."""
    if set(first.columns) != set(second.columns):
        raise StageError(
            f"datasets with other columns: {', '.join(first.columns)} and {', '.join(second.columns)}",
            hint="drop or add columns before the union",
        )
    for name in first.columns:
        common = common_schema(first.schema(name), second.schema(name))
        first, second = fitted(first, common), fitted(second, common)
    return first.followed_by(second)


def common_schema(first: ColumnSchema, second: ColumnSchema) -> ColumnSchema:
    """The type that a column has in the union."""
    for label, other in ((first, second), (second, first)):
        if label.kind == "label" and (other.kind, other.dtype, other.shape) == ("tensor", "int32", ()):
            return label
    names = first.class_names or second.class_names
    if {first.class_names, second.class_names} <= {names, None} and str(first) == str(second):
        return replace(first, class_names=names)
    raise StageError(f'column "{first.name}": expected {first}, got {second}')


def fitted(dataset: Dataset, schema: ColumnSchema) -> Dataset:
    """The dataset with a column of another type. Raises `StageError` for a class that the label does not have."""
    if dataset.schema(schema.name) == schema:
        return dataset
    values = dataset.column(schema.name)
    bad = np.flatnonzero((values < 0) | (values >= (schema.classes or 0)))
    if len(bad):
        raise StageError(f'column "{schema.name}": expected {schema}, got {values[bad[0]]} in row {bad[0]}')
    return dataset.with_columns([schema], {schema.name: values})
