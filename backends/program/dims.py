"""Dimensions: integers, or polynomials in the batch size `b`."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class Size(Struct, frozen=True):
    """A polynomial in `b`: `coefficients[i]` stands before `b**i`. Never constant: use `normal` to build one.

    >>> b * 2 + 1
    Size((1, 2))
    >>> str(b * 2 + 1)
    '2*b + 1'
    """

    coefficients: tuple[int, ...]

    def __add__(self, other: Dim) -> Dim:
        return normal(_add(self.coefficients, coefficients(other)))

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return normal(tuple(-c for c in self.coefficients))

    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    def __rsub__(self, other: int) -> Dim:
        return -self + other

    def __mul__(self, other: Dim) -> Dim:
        return normal(_multiply(self.coefficients, coefficients(other)))

    __rmul__ = __mul__

    def at(self, batch: int) -> int:
        """The value when the batch has `batch` rows."""
        return sum(c * batch**i for i, c in enumerate(self.coefficients))

    def __str__(self) -> str:
        terms = [_term(c, i) for i, c in reversed(list(enumerate(self.coefficients))) if c]
        return " + ".join(terms).replace("+ -", "- ")

    def __repr__(self) -> str:
        return f"Size({self.coefficients})"


Dim: TypeAlias = int | Size


def _term(coefficient: int, power: int) -> str:
    variable = "b" if power == 1 else f"b**{power}"
    if power == 0:
        return str(coefficient)
    return variable if coefficient == 1 else f"{coefficient}*{variable}"


def _add(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    length = max(len(left), len(right))
    padded = [side + (0,) * (length - len(side)) for side in (left, right)]
    return tuple(a + b for a, b in zip(*padded, strict=True))


def _multiply(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    result = [0] * (len(left) + len(right) - 1)
    for i, a in enumerate(left):
        for j, c in enumerate(right):
            result[i + j] += a * c
    return tuple(result)


def coefficients(dim: Dim) -> tuple[int, ...]:
    return dim.coefficients if isinstance(dim, Size) else (dim,)


def normal(values: tuple[int, ...]) -> Dim:
    """Drop leading zeros; a constant polynomial becomes an int."""
    end = len(values)
    while end > 1 and values[end - 1] == 0:
        end -= 1
    return values[0] if end == 1 else Size(values[:end])


def divide(dim: Dim, divisor: Dim) -> Dim | None:
    """The exact quotient, or None when `divisor` does not divide `dim` for every `b`.

    >>> divide(b * 6, 3)
    Size((0, 2))
    >>> divide(b * b * 4, b)
    Size((0, 4))
    """
    remainder, by = list(coefficients(dim)), coefficients(divisor)
    if len(remainder) < len(by) or by[-1] == 0:
        return None
    quotient = [0] * (len(remainder) - len(by) + 1)
    for i in reversed(range(len(quotient))):
        value, rest = divmod(remainder[i + len(by) - 1], by[-1])
        if rest:
            return None
        quotient[i] = value
        for j, c in enumerate(by):
            remainder[i + j] -= value * c
    return None if any(remainder) else normal(tuple(quotient))


def product(dims: tuple[Dim, ...] | list[Dim]) -> Dim:
    """The product of all dimensions; 1 for none."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def substitute(dim: Dim, batch: Dim) -> Dim:
    """`dim` with `batch` in the place of `b`."""
    if not isinstance(dim, Size) or batch is b:
        return dim
    result: Dim = 0
    for c in reversed(coefficients(dim)):
        result = result * batch + c
    return result


def evaluate(dim: Dim, batch: int) -> int:
    """The number that `dim` is when the batch has `batch` rows."""
    return dim.at(batch) if isinstance(dim, Size) else dim


b = Size((0, 1))
