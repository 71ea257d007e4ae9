"""`episodes`: few-shot tasks made of the rows of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etude.backends.batches import Ids, Indices
from etude.backends.numpy.random import fold
from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array
from etude.runtime.datasets import Dataset, DatasetWriter
from etude.runtime.sampling import hashed_order, value_identities
from etude.runtime.stages import Job, Result, StageError, data_result

PIECE = 64  # tasks at a time


def execute(job: Job) -> Result:
    """Draw `count` tasks; the rows of one are all different. Raises `StageError` where there are too few of a class."""
    dataset, spec = job.dataset(0), job.spec
    classes = usable_classes(dataset.column(spec["label"]), spec)
    readers = {name: dataset.reader(name) for name in spec["from"]}
    with DatasetWriter(job.store, episode_schemas(dataset, spec)) as writer:
        for start in range(0, spec["count"], PIECE):
            drawn = [draw(dataset.ids, classes, spec, n) for n in range(start, min(start + PIECE, spec["count"]))]
            writer.append(_values(drawn, readers, spec))
        tasks = writer.finish()
    return data_result(tasks, rows=tasks.rows)


def usable_classes(labels: Array, spec: Mapping[str, Any]) -> dict[int, Indices]:
    """The rows of each class that has enough of them. Raises `StageError` where those are too few classes."""
    needed = spec["shots"] + spec["queries"]
    rows = {int(value): np.flatnonzero(labels == value) for value in np.unique(labels)}
    usable = {value: found for value, found in rows.items() if len(found) >= needed}
    if len(usable) < spec["ways"]:
        counts = ", ".join(f"{value}: {len(found)}" for value, found in rows.items())
        raise StageError(
            f"a task needs {spec['ways']} classes with {needed} rows, but only {len(usable)} have so many",
            hint=f"rows of each class: {counts}",
        )
    return usable


def draw(ids: Ids, classes: Mapping[int, Indices], spec: Mapping[str, Any], number: int) -> tuple[Indices, Indices]:
    """The rows of one task to learn from and those to be tested on, class after class."""
    seed = fold(spec["seed"], number)
    values = list(classes)
    chosen = hashed_order(value_identities(values), seed)[: spec["ways"]]
    support, query = [], []
    for place in chosen:
        rows = classes[values[place]]
        order = rows[hashed_order(ids[rows], seed)]
        support.append(order[: spec["shots"]])
        query.append(order[spec["shots"] : spec["shots"] + spec["queries"]])
    return np.concatenate(support), np.concatenate(query)


def episode_schemas(dataset: Dataset, spec: Mapping[str, Any]) -> list[ColumnSchema]:
    """The columns of tasks."""
    made = []
    for side, each in (("support", spec["shots"]), ("query", spec["queries"])):
        rows = spec["ways"] * each
        for name in spec["from"]:
            old = dataset.schema(name)
            made.append(ColumnSchema(f"{side}_{name}", "tensor", old.dtype, (rows, *old.shape)))
        label = f"{side}_{spec['label']}"
        made.append(ColumnSchema(label, "tensor", "int32", (rows,), is_target=side == "query"))
    return made


def _values(
    drawn: list[tuple[Indices, Indices]], readers: Mapping[str, Any], spec: Mapping[str, Any]
) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for index, (side, each) in enumerate((("support", spec["shots"]), ("query", spec["queries"]))):
        rows = np.stack([task[index] for task in drawn])
        for name, reader in readers.items():
            values = reader[rows.reshape(-1)]
            found[f"{side}_{name}"] = values.reshape(*rows.shape, *values.shape[1:])
        labels = np.repeat(np.arange(spec["ways"], dtype=np.int32), each)
        found[f"{side}_{spec['label']}"] = np.tile(labels, (len(drawn), 1))
    return found
