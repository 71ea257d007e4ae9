"""`relabel`: a column of texts, numbers or classes as a label of its own."""

from __future__ import annotations

import numpy as np

from etude.compiler.schema import ColumnSchema
from etude.runtime.stages import Job, Result, StageError, data_result


def execute(job: Job) -> Result:
    """Give each value its place in the list of classes. Raises `StageError` for one that is not in it."""
    dataset, spec = job.dataset(0), job.spec
    name, classes = spec["column"], spec["classes"]
    values = dataset.column(name)
    places = {value: place for place, value in enumerate(classes)}
    labels = np.array([places.get(value, -1) for value in values.tolist()], np.int32)
    wrong = np.flatnonzero(labels < 0)
    if len(wrong):
        known = ", ".join(map(str, spec.get("names") or classes))
        value = values[wrong[0]]
        old = dataset.schema(name)
        shown = old.class_names[value] if old.kind == "label" and old.class_names else value
        raise StageError(f'column "{name}": expected one of {known}, got {shown} in row {wrong[0]}')
    names = tuple(map(str, spec.get("names") or classes))
    schema = ColumnSchema(name, "label", "int32", (), len(classes), names)
    return data_result(dataset.with_columns([schema], {name: labels}), rows=dataset.rows)
