"""`text`: columns that are made of texts, for programs that read numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from etude.compiler.flows import columns_read
from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array
from etude.runtime.stages import Job, Result, data_result

ROWS = 512


def execute(job: Job) -> Result:
    """Add a column for each expression, some rows at a time."""
    dataset, columns = job.dataset(0), job.spec["reads"]
    schemas = [ColumnSchema(name, "text" if dtype == "text" else "tensor", dtype) for name, _, dtype in columns]
    needed = sorted(set().union(*(columns_read(expression) for _, expression, _ in columns)))
    readers = {name: dataset.reader(name) for name in needed}

    def pieces() -> Iterator[dict[str, Array]]:
        for start in range(0, max(dataset.rows, 1), ROWS):
            rows = range(start, min(start + ROWS, dataset.rows))
            texts = {name: reader[rows.start : rows.stop] for name, reader in readers.items()}
            of_rows = [{name: texts[name][i] for name in needed} for i in range(len(rows))]
            yield {
                name: np.array([value(expression, row) for row in of_rows], dtype=object if dtype == "text" else dtype)
                for name, expression, dtype in columns
            }

    made = dataset.with_pieces(schemas, job.until_stopped(pieces()))
    return data_result(made, rows=made.rows)


def value(expression: Any, row: Mapping[str, str]) -> Any:
    """An expression on the texts of a row.

    >>> value(["count", ["lower", ["column", "x"]], ["text", "a"]], {"x": "A man"})
    2
    """
    head, *rest = expression
    if head == "column":
        return row[rest[0]]
    return rest[0] if head == "text" else _FUNCTIONS[head](*(value(each, row) for each in rest))


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "length": len,
    "lines": lambda text: len(text.splitlines()),
    "words": lambda text: len(text.split()),
    "count": lambda text, part: text.count(part),
    "contains": lambda text, part: part in text,
    "match": lambda text, pattern: _pattern(pattern).search(text) is not None,
    "equal": lambda text, other: text == other,
    "lower": lambda text: text.lower(),
    "replace": lambda text, old, new: text.replace(old, new),
    "join": lambda text, other: text + other,
}
