"""Source lines with carets: the picture in the middle of a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from etude.compiler.diagnostics import Location, Source
from etude.compiler.render.ansi import Paint
from etude.compiler.render.columns import ShownLine, show_line

MOST_LINES = 6  # a span over more lines is shown by its first and last ones


class Mark(Struct, frozen=True):
    """A span to underline. Lines from 1, columns from 0; `end` is exclusive and on line `last`."""

    first: int
    start: int
    last: int
    end: int
    label: str
    is_primary: bool

    @property
    def is_multiline(self) -> bool:
        return self.last > self.first

    @property
    def char(self) -> str:
        return "^" if self.is_primary else "-"


def mark_of(location: Location, label: str, is_primary: bool) -> Mark:
    """The mark of a span; trailing newlines do not make a span multi-line."""
    source, span = location.source, location.span
    start = min(max(span.start, 0), len(source.text))
    stop = min(max(span.end, start), len(source.text))
    while stop > start + 1 and source.text[stop - 1] in "\r\n":
        stop -= 1
    (first, start_column), (last, stop_column) = source.position(start), source.position(stop)
    return Mark(first, start_column - 1, last, stop_column - 1, label, is_primary)


def number_width(marks: Iterable[Mark]) -> int:
    """The width of the widest line number among the marks."""
    return max(len(str(mark.last)) for mark in marks)


class Snippet(Struct, frozen=True):
    """Prints the lines of one source that `marks` touch. `colour` is the style of the primary mark."""

    source: Source
    marks: Sequence[Mark]
    width: int
    paint: Paint
    colour: str

    def rows(self) -> Iterator[str]:
        bracket = next((m for m in self.marks if m.is_multiline), None)
        single = [_first_line_only(m, self.source) if m.is_multiline else m for m in self.marks if m is not bracket]
        yield self._bare()
        previous = 0
        for number in _line_numbers([*single, *([bracket] if bracket else [])]):
            if previous and number > previous + 1:
                yield self.paint("...", "blue")
            yield from self._line(number, [m for m in single if m.first == number], bracket)
            previous = number

    def _bare(self, rest: str = "") -> str:
        gutter = self.paint(" " * (self.width + 1) + "|", "blue")
        return f"{gutter} {rest}".rstrip() if rest else gutter

    def _line(self, number: int, marks: list[Mark], bracket: Mark | None) -> Iterator[str]:
        focus = marks[0].start if marks else (bracket.start if bracket and bracket.first == number else 0)
        shown = show_line(self.source.line(number), focus)
        side = _Side(self, bracket, shown, number) if bracket else None
        gutter = self.paint(f"{number:>{self.width}} |", "blue")
        yield f"{gutter} {side.before() if side else ''}{shown.text}".rstrip()
        if side:
            yield from side.opening()
        for row in _underlines(shown, marks, self.paint, self.colour):
            yield self._bare((side.beside() if side else "") + row)
        if side:
            yield from side.closing()


class _Side(Struct, frozen=True):
    """The bracket in the left margin of a span over several lines, at one of its lines or outside of it."""

    snippet: Snippet
    bracket: Mark
    shown: ShownLine
    number: int

    @property
    def _colour(self) -> str:
        return self.snippet.colour if self.bracket.is_primary else "blue"

    def _paint(self, text: str) -> str:
        return self.snippet.paint(text, self._colour)

    @property
    def _starts_line(self) -> bool:
        """Whether nothing but blanks stands before the span on its first line."""
        return not self.snippet.source.line(self.bracket.first)[: self.bracket.start].strip()

    def before(self) -> str:
        """The two cells left of the source line."""
        if self.number == self.bracket.first:
            return self._paint("/") + " " if self._starts_line else "  "
        return self.beside() if self.number <= self.bracket.last else "  "

    def beside(self) -> str:
        """The two cells left of the rows below the source line."""
        inside = self.bracket.first <= self.number <= self.bracket.last
        if self.number == self.bracket.first and not self._starts_line:
            inside = True
        return self._paint("|") + " " if inside else "  "

    def opening(self) -> Iterator[str]:
        if self.number == self.bracket.first and not self._starts_line:
            line = "_" * (self.shown.cell(self.bracket.start) + 1) + self.bracket.char
            yield self.snippet._bare(" " + self._paint(line))

    def closing(self) -> Iterator[str]:
        if self.number == self.bracket.last:
            cells = max(self.shown.cell(self.bracket.end) - 1, 0)
            line = "|_" + "_" * cells + self.bracket.char
            label = f" {self.bracket.label}" if self.bracket.label else ""
            yield self.snippet._bare(self._paint(line + label))


def _first_line_only(mark: Mark, source: Source) -> Mark:
    """A second span over several lines underlines the rest of its first one."""
    return Mark(mark.first, mark.start, mark.first, len(source.line(mark.first)), mark.label, mark.is_primary)


def _line_numbers(marks: Iterable[Mark]) -> list[int]:
    numbers: set[int] = set()
    for mark in marks:
        lines = range(mark.first, mark.last + 1)
        numbers |= set(lines) if len(lines) <= MOST_LINES else {*lines[:3], *lines[-2:]}
    gaps = {n + 1 for n in numbers if n + 1 not in numbers and n + 2 in numbers}
    return sorted(numbers | gaps)


def _underlines(shown: ShownLine, marks: list[Mark], paint: Paint, colour: str) -> Iterator[str]:
    """The rows below a source line: all underlines, then the labels from right to left."""
    if not marks:
        return
    # secondary marks first: a primary one is drawn over them
    placed = sorted((_place(mark, shown) for mark in marks), key=lambda p: p.mark.is_primary)
    canvas = _Canvas(paint)
    for place in placed:
        canvas.write(place.start, place.mark.char * (place.end - place.start), place.style(colour))
    placed.sort(key=lambda p: (p.start, p.mark.is_primary))
    labelled = [p for p in placed if p.mark.label]
    last = labelled.pop() if labelled else None
    if last and last.end >= max(p.end for p in placed):
        canvas.write(last.end + 1, last.mark.label, last.style(colour))
    elif last:
        labelled.append(last)
    yield canvas.row()
    while labelled:
        place = labelled.pop()
        if last is not None:  # one row of connectors before the first hanging label
            yield _connectors([*labelled, place], paint, colour).row()
            last = None
        canvas = _connectors([p for p in labelled if p.start != place.start], paint, colour)
        canvas.write(place.start, place.mark.label, place.style(colour))
        yield canvas.row()


class _Placed(Struct, frozen=True):
    mark: Mark
    start: int
    end: int

    def style(self, colour: str) -> str:
        return colour if self.mark.is_primary else "blue"


def _place(mark: Mark, shown: ShownLine) -> _Placed:
    start = shown.cell(mark.start)
    return _Placed(mark, start, max(shown.cell(mark.end), start + 1))


def _connectors(places: Sequence[_Placed], paint: Paint, colour: str) -> _Canvas:
    canvas = _Canvas(paint)
    for place in places:
        canvas.write(place.start, "|", place.style(colour))
    return canvas


class _Canvas:
    """One row of cells, each with a character and a style."""

    def __init__(self, paint: Paint) -> None:
        self.paint = paint
        self.cells: list[tuple[str, str]] = []

    def write(self, at: int, text: str, style: str) -> None:
        self.cells += [(" ", "")] * (at + len(text) - len(self.cells))
        for i, char in enumerate(text):
            self.cells[at + i] = (char, style)

    def row(self) -> str:
        parts: list[str] = []
        start = 0
        for i in range(1, len(self.cells) + 1):
            if i == len(self.cells) or self.cells[i][1] != self.cells[start][1]:
                text = "".join(char for char, _ in self.cells[start:i])
                parts.append(self.paint(text, self.cells[start][1]))
                start = i
        return "".join(parts).rstrip()
