"""Training scripts that stand alone: the emitted step with the text of what it calls, and a plain loop around it.

A script reads `inputs.npz` beside it: "ids" are the identities of the rows, "data/<column>" the columns that the
losses read, "learned/<path>", "slow/<path>" and "fixed/<path>" the first weights by their paths in `Models`; with a
validation "valid_ids" and "valid/<column>". Of several data sets there are "ids/<data set>", their columns are called
"<data set>.<column>", and "valid_ids" are those of the first. Where the order of rows follows them there are "weights",
and "easy", the rows from the easiest on; "state/<name>" is what other stages have computed of the first state. It
writes `history.csv` and `weights.npz`, and with checkpoints `weights_<step>.npz`.
"""

from __future__ import annotations

from dataclasses import dataclass


class NotEjectableError(Exception):
    """A stage uses what scripts do not do yet."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a script says of itself, and how it computes."""

    stage: str
    recipe: str
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Ejected:
    """A script, and where each slot of the spec lives below its `models`: (slot, dotted path)."""

    source: str
    slots: list[tuple[int, str]]
