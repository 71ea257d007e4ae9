"""Leases: two runs on one store do not compute the same key twice. A lease whose holder is gone is taken over."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from pathlib import Path

from etude.runtime.store.files import create_exclusively

BEAT_SECONDS = 5.0
STALE_SECONDS = 30.0


class Leases:
    """The leases of this process. A thread touches them while they are held; use as a context manager."""

    def __init__(self, folder: Path, scratch: Path, *, stale_after: float = STALE_SECONDS) -> None:
        self.folder, self.scratch, self.stale_after = folder, scratch, stale_after
        self._held: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, key: str) -> bool:
        """Try to become the one who computes `key`; False while another process does."""
        path, token = self._path(key), uuid.uuid4().hex
        if not self._create(path, token) and not (self._remove_stale(path) and self._create(path, token)):
            return False
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
        return create_exclusively(path, json.dumps({"token": token, **this_process()}).encode(), self.scratch)

    def _remove_stale(self, path: Path) -> bool:
        """Move a lease that ran out aside; True when the name is free now."""
        try:
            age, seen = time.time() - path.stat().st_mtime, path.read_bytes()
        except FileNotFoundError:
            return True
        if age < self.stale_after and not holder_is_gone(_parsed(seen)):
            return False
        aside = self.scratch / uuid.uuid4().hex
        try:
            path.rename(aside)
        except FileNotFoundError:
            return True
        if aside.read_bytes() != seen:  # somebody took it over between our look and our rename: hand it back
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()
        return not path.exists()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            with self._lock:
                held = dict(self._held)
            for key, token in held.items():
                path = self._path(key)
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
    except ValueError:
        return {}


def _machine() -> str:
    """This machine and its table of processes: a process number means something only within both."""
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""
    return f"{os.uname().nodename} {processes}"


def this_process() -> dict[str, object]:
    """What identifies this process to others: see `holder_is_gone`."""
    return {"pid": os.getpid(), "machine": _machine(), "since": time.time()}


def holder_is_gone(holder: dict[str, object]) -> bool:
    """Whether a process ran on this machine and does no more; False where that cannot be known."""
    pid = holder.get("pid")
    if not isinstance(pid, int) or holder.get("machine") != _machine():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
