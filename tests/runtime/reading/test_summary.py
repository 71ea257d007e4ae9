"""What `etude data` says of a column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etude.compiler.schema import ColumnSchema
from etude.runtime.reading.summary import Statistic

TEXT, INT, FLOAT = (ColumnSchema("x", *kind) for kind in (("text", "text"), ("tensor", "int32"), ("tensor", "float32")))


@pytest.mark.parametrize(
    ("schema", "values", "text"),
    [
        (INT, np.arange(80_000), "0 to 79,999, mean 39,999.5"),
        (INT, np.int32([3, 3]), "3, mean 3"),
        (FLOAT, np.float32([0.00012345, 2.5]), "0.0001234 to 2.5, mean 1.25"),
        (FLOAT, np.float32([-1e20, 1e20]), "-1e+20 to 1e+20, mean 0"),
        (FLOAT, np.float32([1, np.nan, np.inf, 3]), "1 to 3, mean 2, 2 not finite"),
        (FLOAT, np.float32([np.nan]), "1 not finite"),
        (TEXT, np.array(["a", "b"], object), "1 character"),
        (TEXT, np.array(["a", "b" * 2000] * 10, object), "1 to 2,000 characters"),
        (TEXT, np.array(["b", "a"] * 10, object), '1 character, 2 different: "a", "b"'),
        (TEXT, np.array([f"{n:02}" for n in range(20)], object), "2 characters"),
    ],
)
def test_numbers_are_as_people_write_them(schema: ColumnSchema, values: Any, text: str) -> None:
    statistic = Statistic(schema)
    statistic.add(values)
    assert statistic.text() == text
