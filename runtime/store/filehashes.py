"""Hashes of users' files, remembered by (size, times, inode), so that an unchanged file is not read again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

# A file changed within this time of being hashed may change again without its times showing it.
RACY_NANOSECONDS = 2_000_000_000
TABLE = "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, hash TEXT NOT NULL)"


class FileHashes:
    """An SQLite table that can be thrown away at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def hash(self, path: Path, *, again: bool = False) -> str:
        """The SHA-256 of a file's bytes, from the table when its stamp is the one it had; `again` reads it."""
        resolved = path.resolve()
        if again:
            return self._measure(resolved)
        stamp = _stamp(os.stat(resolved))
        known = self._known(str(resolved), stamp)
        return known or self._measure(resolved)

    def _measure(self, path: Path) -> str:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            started = time.time_ns()
            found = hashlib.file_digest(file, "sha256").hexdigest()
            after = os.fstat(file.fileno())
        settled = started - max(before.st_mtime_ns, before.st_ctime_ns) > RACY_NANOSECONDS
        if settled and _stamp(before) == _stamp(after):
            self._remember(str(path), _stamp(before), found)
        return found

    def _known(self, path: str, stamp: str) -> str | None:
        if not self.path.exists():
            return None
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as table:
                row = table.execute("SELECT hash FROM files WHERE path = ? AND stamp = ?", (path, stamp)).fetchone()
        except sqlite3.OperationalError:  # busy, no such table, read-only: it is still sound
            return None
        except sqlite3.DatabaseError:
            self._throw_away()
            return None
        return str(row[0]) if row else None

    def _remember(self, path: str, stamp: str, found: str) -> None:
        """Note a hash; a full or read-only disk costs only that the file is read again."""
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as table, table:
                table.execute(TABLE)
                table.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (path, stamp, found))
        except sqlite3.OperationalError:
            return
        except sqlite3.DatabaseError:
            self._throw_away()

    def _throw_away(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _stamp(stat: os.stat_result) -> str:
    """Size, times and inode; the time of the last change of the inode cannot be set by hand."""
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"
