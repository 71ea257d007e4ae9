"""Datasets that programs draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.compiler.schema import ColumnSchema
from etude.compiler.workflow import Stage
from etude.runtime.compiling import compile_text
from etude.runtime.datasets import Dataset
from etude.runtime.stages import Job, Result, Settings, StageError, execute
from etude.runtime.store import Store

Json = Any
DRAWN = """
drawn = generate(6examples, () => {x: normal([3]), kind: as_label(randint(0, 3), classes = 4), one: 1.0})
report { mean = measure(on = drawn, ({x}) => mean(x)) }
"""


def generated(text: str) -> Stage:
    compilation = compile_text(text, "test.etude", Path())
    assert compilation.workflow is not None, compilation.diagnostics
    (stage,) = (stage for stage in compilation.workflow.stages.values() if stage.kind == "generate")
    return stage


@pytest.fixture
def perform(store: Store, tmp_path: Path) -> Callable[..., Result]:
    def performed(kind: str, spec: Json, *inputs: Dataset) -> Result:
        hashes, settings = [dataset.save() for dataset in inputs], Settings(backend="torch")
        return execute(
            Job(store=store, kind=kind, spec=spec, inputs=hashes, settings=settings, base=tmp_path, folder=tmp_path)
        )

    return performed


@pytest.fixture
def make(store: Store, perform: Any) -> Callable[..., Dataset]:
    """The dataset that DRAWN, with other settings, generates."""
    return lambda **settings: Dataset.open(
        store, perform("generate", {**generated(DRAWN).spec, **settings}).outputs["data"]
    )


def test_every_row_is_a_draw_of_its_own(make: Any) -> None:
    drawn = make()
    assert drawn.rows == 6 == len(np.unique(drawn.ids))
    assert drawn.column("x").shape == (6, 3)
    assert len(np.unique(drawn.column("x"))) == 18
    assert drawn.schema("kind") == ColumnSchema("kind", "label", "int32", (), 4)
    assert set(drawn.column("kind")) <= set(range(4))


def test_what_depends_on_no_draw_is_the_same_in_every_row(make: Any) -> None:
    assert make().column("one").tolist() == [1.0] * 6


def test_more_rows_begin_with_the_same_ones_and_another_seed_draws_others(make: Any) -> None:
    drawn, more, other = make(), make(count=9), make(seed=1)
    assert more.column("x")[:6].tolist() == drawn.column("x").tolist()
    assert more.ids[:6].tolist() == drawn.ids.tolist()
    assert not set(other.ids.tolist()) & set(drawn.ids.tolist())
    assert not np.array_equal(other.column("x"), drawn.column("x"))


def test_a_drawn_value_that_is_no_class_is_refused(make: Any) -> None:
    columns = [["kind", ["int32", []], {"kind": "label", "classes": 1}]]
    with pytest.raises(StageError, match=r'column "kind": expected label\(1\)'):
        make(count=50, columns=columns)
