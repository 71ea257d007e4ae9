"""Write a recipe anew: whole or not at all, with the line ends and permissions it had."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from etude.runtime.cli.faults import UsageError


def rewrite(path: Path, text: str) -> None:
    """Put `text` in the place of what a file holds. Raises UsageError when it cannot be written."""
    target = path.resolve()  # a link goes on pointing at its file
    try:
        newline = "\r\n" if b"\r\n" in target.read_bytes() else "\n"
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline=newline) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            shutil.copymode(target, name)
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
