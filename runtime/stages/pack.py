"""`pack`: tokens of one text after the other, cut into rows of equal length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array
from etude.runtime.datasets import DatasetWriter
from etude.runtime.stages import Job, Result, StageError, data_result
from etude.runtime.tokenizers import read_texts
from etude.runtime.tokens import Tokens, as_ids


def execute(job: Job) -> Result:
    """Close each text with the token `end`; what is left over in the end is dropped. Raises `StageError`."""
    spec, column = job.spec, job.dataset(0).reader(job.spec["column"])
    length, tokens = spec["length"], 0
    texts = read_texts(column)
    with DatasetWriter(job.store, [ColumnSchema(spec["column"], "tensor", "int32", (length,))]) as writer:
        for ids in job.until_stopped(packed((as_ids(text) for text in texts), length, spec["end"])):
            tokens += ids.size
            writer.append({spec["column"]: ids})
        if not writer.rows:
            raise StageError(f"there are not {length} tokens to fill one row with", hint="pack shorter rows")
        made = writer.finish()
    return data_result(made, rows=made.rows, tokens=tokens)


def packed(rows: Iterator[Tokens], length: int, end: int) -> Iterator[Array]:
    """The tokens of all rows, each closed by `end`, as arrays [rows, length]; what does not fill a row is dropped."""
    held: list[Tokens] = []
    count = 0
    closing = np.array([end], np.int32)
    for row in rows:
        held += [row, closing]
        count += len(row) + 1
        if count >= length:
            tokens = np.concatenate(held)
            whole = count // length * length
            yield tokens[:whole].reshape(-1, length)
            held, count = [tokens[whole:]], count - whole
