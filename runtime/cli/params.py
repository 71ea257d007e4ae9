"""Files of params: `NAME = VALUE` lines, with comments, for `--params`."""

from __future__ import annotations

import re
from pathlib import Path

from etude.runtime.cli.faults import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMMENT = re.compile(r"""("(?:[^"\\]|\\.)*")|#.*""")
EXAMPLE = "a file of params has lines as: labels = 5%"


def settings_in(path: Path) -> tuple[str, ...]:
    """What a file sets, as `--set` would be given it. Raises UsageError."""
    try:
        lines = path.read_text(encoding="utf-8").removeprefix("\ufeff").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise UsageError(f"cannot read the params in {path}: {error.strerror}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = _COMMENT.sub(lambda match: match[1] or "", line).strip()
        if not text:
            continue
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not value or not _NAME.fullmatch(name):
            raise UsageError(f"{path}:{number}: expected NAME = VALUE, got '{text}'", hint=EXAMPLE)
        if name in found:
            raise UsageError(f"{path}:{number}: '{name}' is set twice")
        found[name] = value
    return tuple(f"{name}={value}" for name, value in found.items())
