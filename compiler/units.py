"""Units of literals and their arithmetic."""

from __future__ import annotations

from collections.abc import Mapping

from etude.compiler.values import Quantity
from etude.grammar import nodes

PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
SECONDS: Mapping[str, float] = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3}
BYTES: Mapping[str, float] = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
COUNTS = {"epochs", "steps", "tokens", "examples", "px"}
UNITS = COUNTS | {"seconds", "bytes"}


def literal(node: nodes.Quantity) -> int | float | Quantity:
    """The value of a quantity: a share is a float, a bare scale a number, the rest carries its unit."""
    value = node.value * PREFIXES[node.prefix]
    if node.unit == "":
        return value
    if node.unit == "%":
        return value / 100
    if node.unit in SECONDS:
        return Quantity(value * SECONDS[node.unit], "seconds")
    if node.unit in BYTES:
        return Quantity(value * BYTES[node.unit], "bytes")
    return Quantity(value, node.unit)


def spelled(quantity: Quantity) -> str:
    """A quantity as a recipe would write it: in the largest unit that gives a plain number."""
    units: Mapping[str, float] = {"bytes": BYTES, "seconds": SECONDS}.get(quantity.unit, {})
    for unit, size in sorted(units.items(), key=lambda each: -each[1]):
        if quantity.value >= size:
            return f"{quantity.value / size:g}{unit}"
    return str(quantity)
