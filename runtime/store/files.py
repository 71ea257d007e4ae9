"""Durable files: nobody ever sees half of one. All lasting changes to a store go through here.

Each operation is announced to `injection`, and an error that is the disk's and not ours says what to do about it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from etude.runtime.store import injection
from etude.runtime.store.errors import StoreError

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV}
ROOM = "make room (`etude store gc` removes old results) and run again: what was finished is kept"
ELSEWHERE = "name a folder that can be written with --store"
REASONS = {
    errno.ENOSPC: ("the disk is full", ROOM),
    errno.EDQUOT: ("the disk quota is used up", ROOM),
    errno.EFBIG: ("the file would be larger than is allowed here", "see `ulimit -f`, or " + ELSEWHERE),
    errno.EROFS: ("this disk is read-only", ELSEWHERE),
    errno.EACCES: ("there is no permission to write here", ELSEWHERE),
    errno.EIO: ("the disk reports an error", "look after the disk; what it cannot read is made anew"),
}


def explained(error: OSError, path: Path) -> StoreError | None:
    """What an error of the disk means to people; None for all others."""
    if error.errno not in REASONS:
        return None
    message, hint = REASONS[error.errno]
    return StoreError(message, path=path, hint=hint)


class _Operation:
    """One operation on a file: announced, and its failure explained. Raises `StoreError`."""

    __slots__ = ("name", "path")

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    def __enter__(self) -> None:
        try:
            injection.before(self.name, self.path)
        except OSError as error:
            raise explained(error, self.path) or error from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError) and (found := explained(error, self.path)):
            raise found from error


@contextlib.contextmanager
def temporary(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file in `folder`, removed at the end of the block unless it was renamed."""
    path = folder / uuid.uuid4().hex
    with _Operation("create", path):
        file = path.open("xb")
    try:
        yield file, path
    finally:
        with contextlib.suppress(OSError):  # what could not be written before cannot be when the file is closed
            file.close()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write(file: Any, data: Any, path: Path) -> None:
    """Append to an open file, all of it: one without a buffer may take it in pieces."""
    with _Operation("write", path):
        left = memoryview(data).cast("B")
        while left:
            left = left[file.write(left) :]


def synced(file: BinaryIO, path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    with _Operation("fsync", path):
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    with _Operation("fsync", folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def rename(path: Path, target: Path) -> None:
    """Give a file the name by which others find it."""
    with _Operation("rename", target):
        path.rename(target)


def make_folder(path: Path, *, exist_ok: bool = False) -> None:
    """Make a folder whose parent is there, or see that it is."""
    if exist_ok and path.is_dir():
        return
    with _Operation("mkdir", path):
        path.mkdir(exist_ok=exist_ok)


def remove(path: Path) -> None:
    """Remove a file, or see that it is gone."""
    with _Operation("remove", path):
        path.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes, scratch: Path) -> None:
    """Write a whole file in the place of what was there."""
    with temporary(scratch) as (file, temporary_path):
        write(file, data, temporary_path)
        synced(file, temporary_path)
        rename(temporary_path, path)
    sync_folder(path.parent)


def create_exclusively(path: Path, data: bytes, scratch: Path, *, lasting: bool = True) -> bool:
    """Write a whole file unless the name is taken. True for the one process that made it.

    One that is not `lasting` need not be there after the machine lost its power: the disk is not waited for.
    """
    with temporary(scratch) as (file, temporary_path):
        write(file, data, temporary_path)
        synced(file, temporary_path) if lasting else file.flush()
        try:
            with _Operation("link", path):
                os.link(temporary_path, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return _create_directly(path, data)
    if lasting:
        sync_folder(path.parent)
    return True


def _create_directly(path: Path, data: bytes) -> bool:
    """The same on a file system without hard links: the name is exclusive, a kill may leave a file cut short."""
    try:
        with _Operation("create", path):
            file = path.open("xb")
    except FileExistsError:
        return False
    with file:
        write(file, data, path)
        synced(file, path)
    sync_folder(path.parent)
    return True
