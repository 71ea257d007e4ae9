"""Globs over the paths of weights: `*` matches within one segment, `**` across segments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", glob)
    return re.compile("".join({"**": ".*", "*": r"[^.]*"}.get(part, re.escape(part)) for part in parts))


def matches(glob: str, path: str) -> bool:
    """Whether a glob names a path, as a whole.

    >>> matches("head.**", "head.layers.0.w"), matches("head.*", "head.layers.0.w"), matches("**.b", "head.b")
    (True, False, True)
    """
    return _pattern(glob).fullmatch(path) is not None


def nearest_paths(glob: str, paths: Sequence[str], count: int = 3) -> list[str]:
    """The paths most like a glob that matches none of them."""
    from difflib import SequenceMatcher

    plain = glob.replace("*", "")
    likeness = {path: SequenceMatcher(None, plain, path).ratio() for path in dict.fromkeys(paths)}
    return sorted(likeness, key=lambda path: (-likeness[path], path))[:count]
