"""JSON in one spelling, for digests. `json` makes an encoder for every call, which takes longer than most values."""

from __future__ import annotations

import json
from collections.abc import Callable
from json import encoder
from typing import Any

Json = Any


def speller(*, ascii: bool, sort: bool) -> Callable[[Json], str]:
    """What `json.dumps` gives without spaces, for values that do not hold themselves.

    >>> speller(ascii=False, sort=True)({"b": [1, 2.0, "ä"], "a": None})
    '{"a":null,"b":[1,2.0,"ä"]}'
    """
    usual = json.JSONEncoder(ensure_ascii=ascii, sort_keys=sort, separators=(",", ":"), check_circular=False)
    make = getattr(encoder, "c_make_encoder", None)
    if make is None:
        return usual.encode
    string = encoder.encode_basestring_ascii if ascii else encoder.encode_basestring
    parts = make(None, usual.default, string, None, ":", ",", sort, False, True)
    return lambda value: "".join(parts(value, 0))
