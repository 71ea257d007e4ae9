"""Numbers that are none are told of where they come into being, and named where they end a training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from etude.runtime.arrays import Array
from etude.runtime.compiling import compile_text
from etude.runtime.events import Event
from etude.runtime.missing_numbers import Missing, not_finite
from etude.runtime.runner import run
from etude.runtime.store import Store

RECIPE = """
scans = load("scans.npz") |> map(row => {...row, size: log(abs(row.x[0]) - 0.5)})
net   = mlp([4, 2])
t     = train(on = scans, update = net, loss = ({x, label}) => cross_entropy(net(x), label), budget = 4steps)
"""


def pieces(values: Array) -> list[Mapping[str, Array]]:
    return [{"x": values[:3], "n": np.arange(3)}, {"x": values[3:], "n": np.arange(len(values) - 3)}]


def test_rows_with_a_number_that_is_none_are_counted_over_the_pieces() -> None:
    values = np.ones((6, 2), np.float32)
    values[2, 1] = values[4] = np.nan
    values[0, 0] = np.inf
    missing = Missing()
    given = pieces(values)

    assert list(missing.passed(given)) == given
    assert missing.texts("nothing", 6) == ['column "x": 2 of 6 rows hold nothing, the first is row 2']


def test_only_the_columns_that_are_named_are_looked_at() -> None:
    missing = Missing()
    list(missing.passed(pieces(np.full((4, 1), np.nan, np.float32)), ["n"]))
    assert missing.texts("nothing", 4) == []


def test_infinity_is_not_finite_and_whole_numbers_are() -> None:
    columns = {"a": np.float32([1, np.inf]), "b": np.arange(2), "c": np.float32([np.nan, 0])}
    told = not_finite(columns, ["a", "b"], {"a": 2, "b": 2})
    assert told == ['column "a": 1 of 2 rows hold a number that is not finite, the first is row 1']


def test_a_training_that_ends_so_names_the_column_and_the_row(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    x[7, 1] = np.nan
    np.savez(tmp_path / "scans.npz", x=x, label=np.arange(20) % 2)
    workflow = compile_text(RECIPE, "scans.etude", tmp_path).workflow
    assert workflow is not None
    told: list[Event] = []
    store = Store(tmp_path / "store")
    result = run(workflow, store=store, backend="torch", base=tmp_path, jobs=1, on_event=told.append)

    assert result.failed
    said = " ".join(str(event.data.get("message", "")) for event in told)
    assert 'column "x": 1 of 20 rows hold no number (NaN), the first is row 7' in said
    assert 'column "size": ' in said
    assert (
        'step 1; the weights after step 0 are kept; column "x": 1 of 20 rows hold a number that is not finite' in said
    )
