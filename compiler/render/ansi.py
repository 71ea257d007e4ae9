"""Colours of a terminal as plain escape sequences; nothing is imported for them."""

from __future__ import annotations

from msgspec import Struct

CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "grey": "90",
}


class Paint(Struct, frozen=True):
    """Colour text, or leave it as it is when `enabled` is false.

    >>> Paint(False)("error", "bold red")
    'error'
    >>> Paint(True)("error", "bold red")
    '\\x1b[1;31merror\\x1b[0m'
    """

    enabled: bool = False

    def __call__(self, text: str, style: str) -> str:
        if not self.enabled or not text or not style:
            return text
        codes = ";".join(CODES[name] for name in style.split())
        return f"\x1b[{codes}m{text}\x1b[0m"


PLAIN = Paint(False)
