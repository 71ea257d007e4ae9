"""The width of source text on a terminal: tabs, wide characters, and lines too long to show whole."""

from __future__ import annotations

from msgspec import Struct

TAB_WIDTH = 4
LINE_WIDTH = 160
MARGIN = 40
ELLIPSIS = "…"


def char_width(char: str) -> int:
    """The number of terminal cells of one character: 2 for wide ones, 0 for combining ones."""
    if char.isascii():
        return 1
    import unicodedata

    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def text_width(text: str) -> int:
    """The number of terminal cells of a text without tabs."""
    return len(text) if text.isascii() else sum(map(char_width, text))


def printable(char: str) -> str:
    """A character that is safe to print: control characters become visible pictures."""
    code = ord(char)
    if code < 32:
        return chr(0x2400 + code)
    return "\u2421" if code == 127 else char


class ShownLine(Struct, frozen=True):
    """A source line as it is printed, and the cell at which each of its columns starts (one more than characters)."""

    text: str
    cells: tuple[int, ...]

    def cell(self, column: int) -> int:
        """The cell, from 0, of a 0-based column; columns outside the shown part go to its nearest end."""
        return self.cells[min(max(column, 0), len(self.cells) - 1)]


def show_line(line: str, focus: int) -> ShownLine:
    """Expand tabs and cut a very long line around the 0-based column `focus`."""
    line = line.rstrip("\r")
    start, end = _window(len(line), focus)
    shown: list[str] = [ELLIPSIS] if start else []
    at = len(shown)
    cells = [at] * start
    for char in line[start:end]:
        cells.append(at)
        piece = " " * (TAB_WIDTH - at % TAB_WIDTH) if char == "\t" else printable(char)
        shown.append(piece)
        at += text_width(piece)
    if end < len(line):
        shown.append(ELLIPSIS)
    cells += [at] * (len(line) - end + 1)
    return ShownLine("".join(shown), tuple(cells))


def _window(length: int, focus: int) -> tuple[int, int]:
    if length <= LINE_WIDTH:
        return 0, length
    start = max(0, min(focus - MARGIN, length - LINE_WIDTH))
    return start, min(length, start + LINE_WIDTH)
