"""A finished run in a store, put together by hand: a run's folder, records, and their objects."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from etude.runtime.store import Record, Store

MakeRun = Callable[..., str]
DAY = 24 * 3600


@pytest.fixture
def make_run(store: Store) -> MakeRun:
    """Make a run of stages whose keys end in these words; `days` ago, finished unless it is not to be."""

    def make(id: str, *words: str, days: float = 0, finished: bool = True, model: bytes | None = None) -> str:
        folder = store.runs / id
        folder.mkdir()
        stages = []
        for word in words:
            hash = store.objects.put(f"content of {word}".encode())
            record = Record(
                key=key_of(word),
                kind="map",
                outputs={"data": hash},
                objects={hash: len(f"content of {word}")},
                seconds=1.0,
                created=1.0,
            )
            store.records.write(record)
            stages.append({"name": word, "key": record.key, "outputs": record.outputs, "kind": "stage-finished"})
        if finished:
            models = {}
            if model is not None:
                hash = store.objects.put(model)
                (folder / "models").mkdir()
                os.link(store.objects.locate(hash), folder / "models" / "net.safetensors")
                models["net"] = {"hash": hash, "path": str(folder / "models" / "net.safetensors")}
            manifest = {"run": id, "folder": str(folder), "stages": stages, "models": models}
            (folder / "run.json").write_text(json.dumps(manifest))
        else:
            lines = [json.dumps({**stage, "time": 1.0}) for stage in stages]
            (folder / "events.jsonl").write_text("\n".join([*lines, '{"kind": "stage-sta']))
        (folder / "notes.txt").write_text(f"notes of {id}")
        aged([folder, *store.records.folder.rglob("*.json")], days)
        aged([path for path in store.objects.folder.rglob("*") if path.is_file()], days)
        return id

    return make


def key_of(word: str) -> str:
    return word.encode().hex().rjust(64, "0")


def aged(paths: list[Path], days: float) -> None:
    """Let files be so old."""
    for path in paths:
        if days:
            os.utime(path, (time.time() - days * DAY,) * 2)
