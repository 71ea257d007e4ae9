"""What differs between the frameworks in the text of modules and functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from etude.backends.emission.parameters import Argument
from etude.backends.numerics import Numerics, Precision, Random
from etude.backends.ops.spelling import Framework
from etude.backends.program.ir import Slot


class ParameterText(Protocol):
    """Spell the statement that makes a weight."""

    def __call__(self, name: str, slot: Slot, shape: Sequence[Argument]) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """`array` and `key` are annotations; `read` is a suffix that reads a weight; `sequence` makes a list of modules.

    Runs of at least `scans` equal blocks are one scan over their weights; none are where it is 0.
    """

    framework: Framework
    array: str
    key: str
    module: str = ""
    forward: str = ""
    setup: tuple[str, ...] = ()
    read: str = ""
    sequence: str = ""
    parameter: ParameterText | None = None
    precision: Precision = "float32"
    random: Random = "portable"
    scans: int = 0

    def of(self, numerics: Numerics) -> Dialect:
        """The same framework, computing in a chosen way."""
        return replace(self, precision=numerics.precision, random=numerics.random)
