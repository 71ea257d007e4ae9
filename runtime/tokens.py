"""Rows of as many tokens as they have, kept as texts whose characters stand for the numbers.

So a column of them is stored, split and sampled as any column of texts is, and `length` counts its tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]
SURROGATES, GAP = 0xD800, 0x800  # numbers of characters that no text may hold


def as_text(ids: Any) -> str:
    """The text that stands for tokens.

    >>> as_ids(as_text([0, 55295, 55296, 100000])).tolist()
    [0, 55295, 55296, 100000]
    """
    codes = np.asarray(ids, dtype="<u4")
    return np.where(codes < SURROGATES, codes, codes + GAP).astype("<u4").tobytes().decode("utf-32-le")


def as_ids(text: str) -> Tokens:
    """The tokens that a text stands for."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    return np.where(codes < SURROGATES, codes, codes - GAP).astype(np.int32)
