"""`predict`: what fitted estimators that are no models say of each row, as columns more."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from etude.backends.batches import chunks
from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array
from etude.runtime.estimators.asking import answers, neighbours
from etude.runtime.estimators.storage import read_estimator
from etude.runtime.stages import Job, Result, data_result
from etude.runtime.stages.fit import flat

ROWS = 4096


def execute(job: Job) -> Result:
    """Ask the estimators (inputs 1, 2, ..) about the rows of input 0, some at a time. Raises `StageError`."""
    from threadpoolctl import threadpool_limits

    dataset, uses = job.dataset(0), job.spec["uses"]
    estimators = [read_estimator(job.store.objects.path(job.made(1 + i)).read_bytes()) for i in range(len(uses))]
    readers = [dataset.reader(column) for _, column, *_ in uses]

    def pieces() -> Iterator[dict[str, Array]]:
        for part in chunks(dataset.rows, ROWS):
            found = {}
            for (name, _, shape, *index), estimator, reader in zip(uses, estimators, readers, strict=True):
                x = flat(reader[part])
                said = neighbours(estimator, x) if index else answers(estimator, x, shape[0] if shape else 1)
                found[name] = said.reshape(len(said), *shape).astype(np.float32)
            yield found

    schemas = [ColumnSchema(name, "tensor", "float32", tuple(shape)) for name, _, shape, *_ in uses]
    with threadpool_limits(1):
        asked = dataset.with_pieces(schemas, job.until_stopped(pieces()))
    return data_result(asked, rows=asked.rows)
