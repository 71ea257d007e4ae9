"""How numbers are computed, apart from what: what a target chooses, and both backends honour."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from etude.backends.meshes import MeshShape

Precision: TypeAlias = Literal["float32", "bf16"]
Random: TypeAlias = Literal["portable", "native"]

PRECISIONS: tuple[Precision, ...] = ("float32", "bf16")
RANDOMS: tuple[Random, ...] = ("portable", "native")


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """Precision of products, source of random numbers, whether PyTorch compiles its steps (JAX always does), and the
    mesh of devices that JAX shares a stage out over.

    With "bf16" the operands and results of matrix products, convolutions and attention are rounded to bfloat16,
    forwards and backwards, and sums are kept in float32; weights, optimizer state and all else stay float32. "native"
    draws with the framework's generator, so that the backends draw differently.
    """

    precision: Precision = "float32"
    compile: bool = False
    random: Random = "portable"
    mesh: MeshShape | None = None

    @property
    def text(self) -> str:
        """What enters keys: all that changes numbers by more than the order of sums.

        >>> Numerics(precision="bf16", random="native").text
        'bf16, native random'
        """
        return self.precision if self.random == "portable" else f"{self.precision}, native random"

    def described(self) -> dict[str, Any]:
        """What is not as usual, as a run's record states it."""
        return {name: value for name, value in asdict(self).items() if value != getattr(Numerics, name)}


PORTABLE = Numerics()
