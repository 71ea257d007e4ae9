"""Writers of small files, and of small pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Paint = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is remembered of files, kept apart from the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[[Sequence[Any]], Path]:
    def write(rows: Sequence[Any]) -> Path:
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    """Write a picture of one colour: grey, or red, green and blue."""

    def write(name: str, size: tuple[int, int] = (4, 6), colour: Any = 128) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.broadcast_to(np.asarray(colour, np.uint8), (*size, *np.shape(colour)))
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        return path

    return write
