"""Which rows go where: order by a hash of (seed, identity), shares rounded by largest remainders."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from etude.backends.batches import Ids, Indices, mix64
from etude.runtime.arrays import Array

MASK = 2**64 - 1


def hashed_order(ids: Ids, seed: int) -> Indices:
    """Row indices sorted by a 64-bit hash of (seed, identity): a permutation that no library can change."""
    salt = mix64(np.array([(seed * 0x9E3779B97F4A7C15 + 1) & MASK], dtype=np.uint64))
    return np.argsort(mix64(ids ^ salt), kind="stable").astype(np.int64)


def exact(share: float) -> Fraction:
    """The number that a share was written as: 0.1 is one tenth."""
    return Fraction(repr(share)) if isinstance(share, float) else Fraction(share)


def apportion(counts: Sequence[int], shares: Sequence[Fraction]) -> list[list[int]]:
    """How many rows of each class (a row of the result) go to each share (a column); the shares sum to 1.

    Every number is the exact one rounded up or down; what rounding took from a share in one class it is given first in
    the next, so that the totals are right to within a row as well.

    >>> apportion([10, 10, 10], [Fraction(1, 4), Fraction(3, 4)])
    [[3, 7], [2, 8], [3, 7]]
    """
    owed = [Fraction(0)] * len(shares)
    table = []
    for count in counts:
        quotas = [count * share for share in shares]
        row = [int(quota // 1) for quota in quotas]
        owed = [debt + quota - whole for debt, quota, whole in zip(owed, quotas, row, strict=True)]
        rounded = [i for i, quota in enumerate(quotas) if quota % 1]
        for i in sorted(rounded, key=lambda i: (-owed[i], i))[: count - sum(row)]:
            row[i] += 1
            owed[i] -= 1
        table.append(row)
    return table


def divide(ids: Ids, shares: Sequence[Fraction], seed: int, classes: Array | None = None) -> list[Indices]:
    """Disjoint row indices for each share, ascending; with `classes` [rows], each class is divided by itself.

    Shares that sum to less than 1 leave rows over."""
    order = hashed_order(ids, seed)
    groups = [order] if classes is None else [order[classes[order] == value] for value in np.unique(classes)]
    rest = 1 - sum(shares, Fraction(0))
    table = apportion([len(group) for group in groups], [*shares, rest])
    parts: list[list[Indices]] = [[] for _ in shares]
    for group, row in zip(groups, table, strict=True):
        for part, piece in zip(parts, np.split(group, np.cumsum(row)[:-1]), strict=False):
            part.append(piece)
    return [np.sort(np.concatenate(pieces)) if pieces else np.empty(0, np.int64) for pieces in parts]


def divide_groups(groups: Array, shares: Sequence[Fraction], seed: int) -> list[Indices]:
    """Like `divide`, but rows with an equal value of `groups` [rows] stay together; shares are then approximate.

    Groups stand in hashed order; a group goes to the share in which its middle row falls.
    """
    values, membership = np.unique(groups, return_inverse=True)
    order = hashed_order(value_identities(values), seed)
    sizes = np.bincount(membership, minlength=len(values))[order]
    middles = np.cumsum(sizes) - sizes / 2
    bounds = [float(sum(shares[: i + 1], Fraction(0)) * len(groups)) for i in range(len(shares))]
    part_of_group = np.empty(len(values), np.int64)
    part_of_group[order] = np.searchsorted(np.array(bounds), middles, side="left")
    part_of_row = part_of_group[membership]
    return [np.flatnonzero(part_of_row == part).astype(np.int64) for part in range(len(shares))]


def divide_ordered(values: Array, shares: Sequence[Fraction]) -> list[Indices]:
    """Row indices for each share, ascending: the first share has the rows that come first by `values` [rows]. Rows of
    equal value stay together, in the part where the middle one falls, so that none of a part is as late as the next.

    >>> [part.tolist() for part in divide_ordered(np.array([3, 1, 1, 2]), [Fraction(1, 2), Fraction(1, 2)])]
    [[1, 2], [0, 3]]
    """
    _, membership, sizes = np.unique(values, return_inverse=True, return_counts=True)
    middles = np.cumsum(sizes) - sizes / 2
    bounds = [float(sum(shares[: i + 1], Fraction(0)) * len(values)) for i in range(len(shares))]
    part_of_row = np.searchsorted(np.array(bounds), middles, side="left")[membership]
    return [np.flatnonzero(part_of_row == part).astype(np.int64) for part in range(len(shares))]


def value_identities(values: Iterable[object]) -> Ids:
    """A 64-bit hash of each value's text."""
    digests = [hashlib.sha256(str(value).encode()).digest()[:8] for value in values]
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)


def choose(ids: Ids, count: int, seed: int, classes: Array | None = None) -> Indices:
    """`count` row indices, ascending; with `classes`, in proportion to the classes. A smaller choice is part of a
    larger one with the same seed where classes play no role."""
    if not len(ids):
        return np.empty(0, np.int64)
    return divide(ids, [Fraction(count, len(ids))], seed, classes)[0]
