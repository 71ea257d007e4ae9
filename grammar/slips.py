"""Slips of the finger: words that differ from one another by a letter or two."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


def distance(left: str, right: str) -> int:
    """How many letters must be added, dropped, changed or swapped with their neighbour to make one word the other.

    >>> distance("flaten", "flatten"), distance("trian", "train"), distance("net", "relu")
    (1, 1, 3)
    """
    rows = [list(range(len(right) + 1))]
    for i, a in enumerate(left, 1):
        row = [i]
        for j, b in enumerate(right, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


def is_slip(written: str, meant: str) -> bool:
    """Whether a word is so near to another, for its length, that it was surely meant.

    >>> is_slip("optimiser", "optimizer"), is_slip("x", "y"), is_slip("valid", "value")
    (True, False, False)
    >>> is_slip("teacher_a", "teacher_b"), is_slip("net10", "net11")
    (False, False)
    """
    length = min(len(written), len(meant))
    allowed = 0 if length < 3 else 1 if length < 8 else 2
    if not allowed or abs(len(written) - len(meant)) > allowed or _traits(written)[1] != _traits(meant)[1]:
        return False
    return 0 < distance(written, meant) <= allowed


@lru_cache(100_000)  # each unknown name is compared with all that are known
def _traits(word: str) -> tuple[str, list[str]]:
    """A word without what people forget, capitals and underscores; and what they tell names apart by: digits, and
    single letters behind an underscore."""
    return word.lower().replace("_", ""), re.findall(r"[0-9]+|_[A-Za-z]$", word)


def surely_meant(written: str, known: Iterable[str]) -> str | None:
    """The only word that `written` is a slip of, if there is exactly one.

    >>> surely_meant("softmx", ["softmax", "max"]), surely_meant("net1", ["net2", "net3"])
    ('softmax', None)
    """
    folded, marks = _traits(written)
    found = set()
    for word in known:
        plain, own = _traits(word)
        if plain == folded or (own == marks and is_slip(written, word)):
            found.add(word)
    return found.pop() if len(found) == 1 else None
