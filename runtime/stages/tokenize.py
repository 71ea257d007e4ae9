"""`tokenize`: texts become tokens, of a fixed length with a mask, or as many as there are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array
from etude.runtime.stages import Job, Result, data_result
from etude.runtime.tokenizers import BOS, EOS, PAD, encoded, opened
from etude.runtime.tokens import as_text

ROWS = 256


def execute(job: Job) -> Result:
    """Put the tokens in the place of the texts; what does not fit into `length` is cut off and counted."""
    dataset, spec = job.dataset(0), job.spec
    kept = dataset.keep([name for name in dataset.columns if name != spec["column"]])
    length, mask = spec["length"], spec["mask"]
    if length is None:
        schemas = [ColumnSchema(spec["into"], "text", "text")]
    else:
        schemas = [
            ColumnSchema(spec["into"], "tensor", "int32", (length,)),
            ColumnSchema(mask, "tensor", "bool", (length,)),
        ]
    cut = _Cut()
    made = kept.with_pieces(schemas, job.until_stopped(_pieces(job, cut)))
    if length is None:
        return data_result(made, rows=made.rows, tokens=cut.tokens)
    return data_result(made, rows=made.rows, tokens=cut.tokens, cut=cut.rows)


class _Cut:
    """How many tokens there are, and how many rows have more than fit."""

    def __init__(self) -> None:
        self.tokens, self.rows = 0, 0


def _pieces(job: Job, cut: _Cut) -> Iterator[dict[str, Array]]:
    spec, column = job.spec, job.dataset(0).reader(job.spec["column"])
    tokenizer = opened(job.store.objects.read(job.made(1)), job.settings.threads)
    for start in range(0, max(len(column), 1), ROWS):
        rows = encoded(tokenizer, column[start : start + ROWS].tolist())
        if spec["bounds"]:
            rows = [[BOS, *row, EOS] for row in rows]
        cut.tokens += sum(map(len, rows))
        if spec["length"] is None:
            yield {spec["into"]: np.array([as_text(row) for row in rows], dtype=object)}
        else:
            cut.rows += sum(len(row) > spec["length"] for row in rows)
            ids, mask = padded(rows, spec["length"])
            yield {spec["into"]: ids, spec["mask"]: mask}


def padded(rows: list[list[int]], length: int) -> tuple[Array, Array]:
    """Rows of tokens as ids [rows, length], filled up with `pad`, and where there are tokens."""
    ids, mask = np.full((len(rows), length), PAD, np.int32), np.zeros((len(rows), length), np.bool_)
    for number, row in enumerate(rows):
        count = min(len(row), length)
        ids[number, :count], mask[number, :count] = row[:count], True
    return ids, mask
