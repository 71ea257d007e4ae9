"""A run on broken data fails with file, row and what was expected, and leaves nothing in the store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from etude.runtime.datasets import Dataset
from etude.runtime.sources import SourceError
from etude.runtime.stages import Job, Settings, execute
from etude.runtime.store import Store

ROWS = 70_000


def jsonl(base: Path) -> str:
    rows = [json.dumps({"x": n}) for n in range(ROWS)]
    (base / "data.jsonl").write_text("\n".join([*rows[:-1], '{"x": "seven"}']))
    return 'data.jsonl:70000: column "x": expected one integer, got "seven"'


def csv(base: Path) -> str:
    (base / "data.csv").write_text("x\n" + "1\n" * (ROWS - 2) + "seven\n")
    return 'data.csv:70000: column "x": expected int32, got "seven"'


def truncated(base: Path) -> str:
    parquet.write_table(pa.table({"x": np.arange(ROWS)}), base / "data.parquet")
    data = (base / "data.parquet").read_bytes()
    (base / "data.parquet").write_bytes(data[: len(data) // 2])
    return "data.parquet: not a complete Parquet file"


def nulls(base: Path) -> str:
    parquet.write_table(pa.table({"x": pa.array([1] * (ROWS - 1) + [None])}), base / "data.parquet")
    return 'data.parquet: row 69999, column "x": expected one integer, got null'


def picture(base: Path, paint: Callable[..., Path]) -> str:
    for n in range(40):
        paint(f"pictures/{n:02}.png", (32, 32), n)
    path = base / "pictures/37.png"
    path.write_bytes(path.read_bytes()[:-30])
    return "pictures/37.png: row 37: expected a picture that can be read, got"


def empty(base: Path) -> str:
    (base / "pictures").mkdir()
    return "pictures: nothing to read in this folder: expected pictures"


def archive(base: Path) -> str:
    np.savez(base / "data.npz", x=np.arange(ROWS))
    data = (base / "data.npz").read_bytes()
    (base / "data.npz").write_bytes(data[:-100])
    return "data.npz: not a complete archive"


def text(base: Path) -> str:
    (base / "data.txt").write_bytes(b"fine\n" * (ROWS - 1) + b"\xff\n")
    return "data.txt:70000: a byte that is not UTF-8: expected UTF-8, got byte 0xff"


CASES: list[tuple[str, Any]] = [
    ("data.jsonl", jsonl), ("data.csv", csv), ("data.parquet", truncated), ("data.parquet", nulls),
    ("pictures/", picture), ("pictures/", empty), ("data.npz", archive), ("data.txt", text),
]  # fmt: skip


@pytest.mark.parametrize(("uri", "break_it"), CASES, ids=[case[1].__name__ for case in CASES])
def test_broken_data_is_named_and_the_store_is_unharmed(
    uri: str, break_it: Any, tmp_path: Path, paint: Callable[..., Path]
) -> None:
    message = break_it(tmp_path, paint) if break_it is picture else break_it(tmp_path)
    store = Store(tmp_path / "store")
    before = content(store)
    job = Job(
        store=store, kind="load", spec={"uri": uri, "options": {}}, inputs=[], settings=Settings(backend="torch"),
        base=tmp_path, folder=tmp_path,
    )  # fmt: skip
    with pytest.raises(SourceError) as caught:
        execute(job)
    assert message in str(caught.value)
    assert content(store) == before


def content(store: Store) -> list[tuple[str, bytes]]:
    return [(str(path), path.read_bytes()) for path in sorted(store.root.rglob("*")) if path.is_file()]


def test_what_was_mended_is_loaded(tmp_path: Path) -> None:
    jsonl(tmp_path)
    path = tmp_path / "data.jsonl"
    path.write_text(path.read_text().replace('"seven"', "7"))
    store = Store(tmp_path / "store")
    result = execute(
        Job(
            store=store, kind="load", spec={"uri": "data.jsonl"}, inputs=[], settings=Settings(backend="torch"),
            base=tmp_path, folder=tmp_path,
        )
    )  # fmt: skip
    assert Dataset.open(store, result.outputs["data"]).column("x").tolist() == [*range(ROWS - 1), 7]
