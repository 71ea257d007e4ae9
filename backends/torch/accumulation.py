"""A batch in parts, one after the other: gradients add up to those of the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from etude.backends.program.microbatches import parts_of

Part = Mapping[str, Tensor]


def accumulated(
    loss: Callable[[Part, Any], tuple[Tensor, dict[str, Tensor]]],
    batch: Part,
    key: Any,
    least: int,
    fold: Callable[[Any, int], Any],
    weights: Sequence[Tensor] | None = None,
) -> dict[str, Tensor]:
    """Add the gradients of the mean over parts to `weights` (by default to all); return the means of the terms."""
    parts = micro_batches(batch, least)
    found = []
    for number, part in enumerate(parts):
        total, terms = loss(part, fold(key, number))
        (total / len(parts)).backward(inputs=weights)
        found.append({name: term.detach() for name, term in terms.items()})
    return {name: torch.stack([terms[name] for terms in found]).mean(dim=0) for name in found[0]}


def micro_batches(batch: Part, least: int) -> list[Part]:
    """The rows of a batch in at least so many parts of one size; what begins with "@" is no column."""
    rows = next(len(column) for name, column in batch.items() if not name.startswith("@"))
    parts = parts_of(rows, least)
    pieces = {name: [column] * parts if name.startswith("@") else column.chunk(parts) for name, column in batch.items()}
    return [{name: pieces[name][number] for name in batch} for number in range(parts)]
