"""`overlap`: whether two datasets hold rows of the same content; put into the graph where the recipe cannot tell."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from etude.runtime.datasets import Dataset
from etude.runtime.stages import Job, Result, StageError

CHUNK = 4096


def execute(job: Job) -> Result:
    """Compare the rows by the columns of the spec. Raises `StageError` when test data was trained on."""
    columns, (tested, trained) = job.spec["columns"], job.spec["names"]
    test, other = job.dataset(0), job.dataset(1)
    known = set(_contents(other, job.spec.get("others", columns)))
    shared = [i for i, content in enumerate(_contents(test, columns)) if content in known]
    if shared:
        raise StageError(
            f"{len(shared):,} of the {test.rows:,} rows of the test data '{tested}' are also in '{trained}', "
            f"which models learn from; the first is row {shared[0]:,}",
            hint=f"take them out of one of the two, or write why it does not matter: "
            f'assume disjoint({tested}, {trained}) because "..."',
        )
    return Result({"shared": job.store.objects.put_json(0)})


def _contents(dataset: Dataset, columns: list[str]) -> Iterator[bytes]:
    """A hash of each row, in order."""
    readers = [dataset.reader(name) for name in columns]
    for start in range(0, dataset.rows, CHUNK):
        positions = np.arange(start, min(start + CHUNK, dataset.rows))
        parts = [reader[positions] for reader in readers]
        for row in zip(*parts, strict=True):
            yield hashlib.blake2b(b"\0".join(_bytes(value) for value in row), digest_size=16).digest()


def _bytes(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else np.ascontiguousarray(value).tobytes()
