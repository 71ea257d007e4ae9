"""Row programs without weights, on the host."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from etude.backends.base import Array
from etude.backends.batches import Ids, chunks, row_keys
from etude.backends.evaluation import appended
from etude.backends.feeding import Table, pieces

ROW_BATCH = 1024


def run_rows(module: ModuleType, data: Table, ids: Ids, key: int, row_bytes: int) -> Iterator[dict[str, Array]]:
    """Every output of `module.rows` over all rows, piece by piece."""
    for piece, columns in pieces(data, len(ids), ROW_BATCH, row_bytes):
        bits, parts = row_keys(ids[piece]), []
        for part in chunks(len(bits), ROW_BATCH):
            batch = {name: column[part] for name, column in columns.items()}
            parts.append(module.rows(batch, bits[part], key))
        yield appended(parts)
