"""What each diagnostic code means: a page of Markdown per code, `E201.md`; the files are the registry."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
CODE = re.compile(r"[EW]\d{3}")


def codes() -> list[str]:
    """All codes that have an explanation, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.md") if CODE.fullmatch(path.stem))


def explanation(code: str) -> str | None:
    """The page of a code, or None."""
    path = FOLDER / f"{code}.md"
    return path.read_text(encoding="utf-8") if CODE.fullmatch(code) and path.is_file() else None


def headline(code: str) -> str | None:
    """The title of a code's page, without the code.

    >>> headline("E201")
    'a name that nothing defines'
    """
    text = explanation(code)
    return None if text is None else text.split("\n", 1)[0].removeprefix(f"# {code}: ")
