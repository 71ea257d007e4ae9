"""Durable files: nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}


@contextlib.contextmanager
def temporary(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file in `folder`, synced at the end of the block and removed unless it was renamed."""
    path = folder / uuid.uuid4().hex
    try:
        with path.open("xb") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


def synced(file: BinaryIO) -> None:
    """Wait until the file's bytes are on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes, scratch: Path) -> None:
    """Write a whole file in the place of what was there."""
    with temporary(scratch) as (file, temporary_path):
        file.write(data)
        synced(file)
        temporary_path.rename(path)
    sync_folder(path.parent)


def create_exclusively(path: Path, data: bytes, scratch: Path) -> bool:
    """Write a whole file unless the name is taken. True for the one process that made it."""
    with temporary(scratch) as (file, temporary_path):
        file.write(data)
        synced(file)
        try:
            os.link(temporary_path, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return _create_directly(path, data)
    sync_folder(path.parent)
    return True


def _create_directly(path: Path, data: bytes) -> bool:
    """The same on a file system without hard links: the name is exclusive, a kill may leave a file cut short."""
    try:
        with path.open("xb") as file:
            file.write(data)
            synced(file)
    except FileExistsError:
        return False
    sync_folder(path.parent)
    return True
