"""JSON for files and terminals: a line for each field, and for each item of a list of records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Json = Any
_encode = json.JSONEncoder(ensure_ascii=False).encode


def json_text(value: Json) -> str:
    """A JSON value in lines. `json.dumps` with an indent is written in Python and takes ten times as long.

    >>> print(json_text({"run": "a", "stages": [{"id": "s1"}, {"id": "s2"}]}))
    {
     "run": "a",
     "stages": [
      {"id": "s1"},
      {"id": "s2"}
     ]
    }
    """
    if not isinstance(value, Mapping) or not value:
        return _encode(value)
    fields = [f" {_encode(name)}: {_field(item)}" for name, item in value.items()]
    return "{\n" + ",\n".join(fields) + "\n}"


def _field(value: Json) -> str:
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return "[\n" + ",\n".join([f"  {_encode(item)}" for item in value]) + "\n ]"
    return _encode(value)
