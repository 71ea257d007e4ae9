"""Leases: two runs on one store do not compute the same key twice. A lease whose holder is gone is taken over.

No clock is compared with another: a lease has run out when its file has not changed for a while of the watcher's own,
monotonic time. So machines whose clocks differ, or are set back, cannot take a living one over, nor wait for ever.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from etude.runtime.store.files import create_exclusively
from etude.runtime.store.holders import holder_is_gone, this_process

BEAT_SECONDS = 5.0
STALE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Look:
    """What another's lease was like when we first saw it so. `changed` is the time of the file, never compared."""

    data: bytes
    changed: int
    seen: float


class Leases:
    """The leases of this process. A thread touches them while they are held; use as a context manager."""

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        *,
        stale_after: float = STALE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.scratch, self.stale_after = folder, scratch, stale_after
        self._clock = clock
        self._held: dict[str, str] = {}
        self._looks: dict[str, Look] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, key: str) -> bool:
        """Try to become the one who computes `key`; False while another process does. Raises `StoreError`."""
        path, token = self._path(key), uuid.uuid4().hex
        if not self._create(path, token) and not (self._remove_stale(key, path) and self._create(path, token)):
            return False
        self._looks.pop(key, None)
        with self._lock:
            self._held[key] = token
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="etude-leases", daemon=True)
                self._thread.start()
        return True

    def release(self, key: str) -> None:
        """Give a lease back, unless it ran out and is another's by now."""
        with self._lock:
            token = self._held.pop(key, None)
        path = self._path(key)
        if token is not None and _token(path) == token:
            with contextlib.suppress(OSError):  # on a disk that became read-only it runs out by itself
                path.unlink(missing_ok=True)

    def __enter__(self) -> Leases:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for key in list(self._held):
            self.release(key)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _create(self, path: Path, token: str) -> bool:
        holder = json.dumps({"token": token, **this_process()}).encode()
        return create_exclusively(path, holder, self.scratch, lasting=False)

    def _remove_stale(self, key: str, path: Path) -> bool:
        """Move a lease that ran out aside; True when the name is free now."""
        look = self._look(key, path)
        if look is None:
            return True
        if self._clock() - look.seen < self.stale_after and not holder_is_gone(_parsed(look.data)):
            return False
        aside = self.scratch / uuid.uuid4().hex
        try:
            path.rename(aside)
        except FileNotFoundError:
            return True
        if aside.read_bytes() != look.data:  # somebody took it over between our look and our rename: hand it back
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()
        return not path.exists()

    def _look(self, key: str, path: Path) -> Look | None:
        """What a lease is like, and since when it has been like that; None when it is not there."""
        try:
            with path.open("rb") as file:  # opening it asks a file server for the present state
                data, changed = file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return None
        before = self._looks.get(key)
        if before is None or (before.data, before.changed) != (data, changed):
            self._looks[key] = before = Look(data, changed, self._clock())
        return before

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            with self._lock:
                held = dict(self._held)
            for key, token in held.items():
                path = self._path(key)
                with contextlib.suppress(OSError):  # gone, or a file server that is away: the next beat may succeed
                    if _token(path) == token:
                        os.utime(path)


def _token(path: Path) -> object:
    """Whose lease it is: a word of its own, as inode numbers are used again."""
    try:
        return _parsed(path.read_bytes()).get("token")
    except FileNotFoundError:
        return None


def _parsed(data: bytes) -> dict[str, object]:
    try:
        return dict(json.loads(data))
    except (ValueError, TypeError):
        return {}
