"""Attributes as Python source."""

from __future__ import annotations

import math
from typing import Any

from etude.backends.program.dims import Size


def literal_text(value: Any) -> str:
    """An attribute as Python source: dimensions in terms of `b`.

    >>> from etude.backends.program.dims import b
    >>> literal_text((b * 2, 3)), literal_text((b,)), literal_text(float("-inf"))
    ('(2*b, 3)', '(b,)', "float('-inf')")
    """
    if isinstance(value, Size):
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(literal_text, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)
