"""Pictures of a dataset for the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.compiler.schema import ColumnSchema
from etude.runtime.datasets import Dataset
from etude.runtime.stages import Job, Result, Settings, StageError, execute
from etude.runtime.store import Store

Json = Any


@pytest.fixture
def perform(store: Store, tmp_path: Path) -> Callable[..., Result]:
    def performed(kind: str, spec: Json, *inputs: Dataset) -> Result:
        hashes, settings = [dataset.save() for dataset in inputs], Settings(backend="torch")
        return execute(
            Job(store=store, kind=kind, spec=spec, inputs=hashes, settings=settings, base=tmp_path, folder=tmp_path)
        )

    return performed


def test_pictures_are_drawn_up_to_a_number(store: Store, perform: Any) -> None:
    image = ColumnSchema("image", "tensor", "float32", (8, 8, 1))
    data = Dataset.create(store, [image], {"image": np.zeros((5, 8, 8, 1), np.float32)})
    result = perform("images", {"column": "image", "count": 3}, data)
    figure = store.read_json(result.outputs["figure"])
    assert (figure["column"], figure["count"]) == ("image", 3)
    assert store.objects.read(figure["picture"]).startswith(b"\x89PNG")
    assert figure["picture"] in result.all_objects()
    empty = perform("images", {"column": "image", "count": 3}, data.select(np.array([], np.int64)))
    assert store.read_json(empty.outputs["figure"])["picture"] is None


@pytest.mark.parametrize(("dtype", "shape"), [("int32", (8, 8)), ("float32", (8, 8, 2)), ("float32", (8,))])
def test_a_column_that_holds_no_pictures_is_refused(
    store: Store, perform: Any, dtype: str, shape: tuple[int, ...]
) -> None:
    data = Dataset.create(store, [ColumnSchema("x", "tensor", dtype, shape)], {"x": np.zeros((2, *shape), dtype)})
    with pytest.raises(StageError, match='column "x": expected float32'):
        perform("images", {"column": "x", "count": 3}, data)
