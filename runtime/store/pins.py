"""Pins: runs that are never removed, each a small file that says why."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from etude.runtime.store.files import remove, replace_file, sync_folder


class Pins:
    """The folder of pins, a file for each run."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch

    def add(self, run: str, note: str | None = None) -> None:
        """Keep a run, or change its note."""
        text = json.dumps({"note": note, "created": time.time()}, ensure_ascii=False)
        replace_file(self._path(run), text.encode(), self.scratch)

    def remove(self, run: str) -> bool:
        """Keep a run no longer; False when it was not pinned."""
        path = self._path(run)
        if not path.exists():
            return False
        remove(path)
        sync_folder(self.folder)
        return True

    def all(self) -> Mapping[str, str | None]:
        """The runs that are pinned, with their notes; a damaged pin still holds."""
        return {path.stem: _note(path) for path in sorted(self.folder.glob("*.json"))}

    def _path(self, run: str) -> Path:
        return self.folder / f"{run}.json"


def _note(path: Path) -> str | None:
    try:
        note = json.loads(path.read_bytes())["note"]
    except (ValueError, KeyError, TypeError, OSError):
        return None
    return None if note is None else str(note)
