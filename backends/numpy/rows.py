"""Row programs without weights, on the host."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from etude.backends.base import Array, Columns
from etude.backends.batches import Ids, chunks, row_keys

ROW_BATCH = 1024


def run_rows(module: ModuleType, data: Columns, ids: Ids, key: int) -> dict[str, Array]:
    """Every output of `module.rows` over all rows."""
    bits = row_keys(ids)
    parts = []
    for part in chunks(len(ids), ROW_BATCH):
        batch = {name: column[part] for name, column in data.items()}
        parts.append(module.rows(batch, bits[part], key))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
