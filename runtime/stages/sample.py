"""`sample`: a share or a number of rows."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from etude.backends.batches import Ids, Indices
from etude.runtime.arrays import Array
from etude.runtime.sampling import choose, exact
from etude.runtime.stages import Job, Result, StageError, data_result


def execute(job: Job) -> Result:
    """Choose rows by a hash of seed and identity: in proportion to a column's values with `stratify`, as many of each
    value with `per`."""
    dataset, spec = job.dataset(0), job.spec
    if spec.get("per") is not None:
        chosen = of_each_value(spec, dataset.ids, dataset.column(spec["per"]))
    else:
        classes = None if spec.get("stratify") is None else dataset.column(spec["stratify"])
        chosen = choose(dataset.ids, wanted_rows(spec, dataset.rows), spec["seed"], classes)
    return data_result(dataset.select(chosen), rows=len(chosen))


def of_each_value(spec: Mapping[str, Any], ids: Ids, values: Array) -> Indices:
    """As many rows of each value as `share` or `count` asks for, ascending. Raises `StageError` for a value that has
    fewer."""
    pieces = [np.empty(0, np.int64)]
    for value in np.unique(values):
        rows = np.flatnonzero(values == value)
        try:
            count = wanted_rows(spec, len(rows))
        except StageError as error:
            raise StageError(f"{spec['per']} {value}: {error.message}") from error
        pieces.append(rows[choose(ids[rows], count, spec["seed"])])
    return np.sort(np.concatenate(pieces))


def wanted_rows(spec: Mapping[str, Any], rows: int) -> int:
    """The number of rows that `share` or `count` asks for, out of `rows`. Raises `StageError` for more than all."""
    if spec.get("share") is not None:
        count = int((exact(spec["share"]) * rows + Fraction(1, 2)) // 1)
    else:
        count = int(spec["count"])
    if count > rows:
        raise StageError(f"expected at most {rows} rows, as there are, got {count}")
    return count
