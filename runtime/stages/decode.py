"""`decode`: the texts that tokens stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array
from etude.runtime.stages import Job, Result, data_result
from etude.runtime.tokenizers import decoded, opened
from etude.runtime.tokens import as_ids

ROWS = 256


def execute(job: Job) -> Result:
    """Put texts in the place of tokens."""
    dataset, spec = job.dataset(0), job.spec
    kept = dataset.keep([name for name in dataset.columns if name != spec["column"]])
    made = kept.with_pieces([ColumnSchema(spec["into"], "text", "text")], job.until_stopped(_pieces(job)))
    return data_result(made, rows=made.rows)


def _pieces(job: Job) -> Iterator[dict[str, Array]]:
    spec, column = job.spec, job.dataset(0).reader(job.spec["column"])
    tokenizer = opened(job.store.objects.read(job.made(1)), job.settings.threads)
    for start in range(0, max(len(column), 1), ROWS):
        texts = [decoded(tokenizer, _ids(row), spec["end"]) for row in column[start : start + ROWS]]
        yield {spec["into"]: np.array(texts, dtype=object)}


def _ids(row: Any) -> list[int]:
    found: list[int] = (as_ids(row) if isinstance(row, str) else row).tolist()
    return found
