"""`accumulate = auto`: in as few parts as the memory of the machine takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.backends.batches import batch_rows
from etude.backends.program.microbatches import parts_of
from etude.backends.program.serialize import program_from_json
from etude.compiler.liveness import held_bytes

Json = Any
SHARE = 2  # of the memory for one part: data, weights and what optimizers keep take the rest


def with_parts(spec: Mapping[str, Json], rows: int, memory: int, precision: str = "float32") -> dict[str, Json]:
    """The spec of a training with the number of parts decided for so many rows and bytes of memory.

    The numbers are the same up to rounding, so this is no part of the stage's key.
    """
    rest = {name: value for name, value in spec.items() if name != "accumulate"}
    if spec.get("accumulate") != "auto":
        return dict(spec)
    batch = batch_rows(spec["batch"], rows)
    programs = [(program_from_json(player["loss"]), player["update"]) for player in spec["steps"]]
    parts = 1
    while parts < batch:
        held = max(held_bytes(program, batch // parts, update, precision).peak for program, update in programs)
        if held * SHARE <= memory:
            break
        parts = parts_of(batch, parts + 1)
    return rest | ({"accumulate": parts} if parts > 1 else {})
