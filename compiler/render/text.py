"""Diagnostics for people: what is wrong, the source with carets, where it comes from, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from etude.compiler.diagnostics import MOST, Diagnostic, Source
from etude.compiler.render.ansi import PLAIN, Paint
from etude.compiler.render.snippet import Mark, Snippet, mark_of, number_width

COLOURS = {"error": "bold red", "warning": "bold yellow"}


def render_text(diagnostics: Iterable[Diagnostic], paint: Paint = PLAIN) -> str:
    """All messages, a blank line between two, with a newline at the end; "" for none."""
    return "\n".join(render_diagnostic(diagnostic, paint) for diagnostic in diagnostics)


def render_diagnostic(diagnostic: Diagnostic, paint: Paint = PLAIN) -> str:
    """One message of several lines, each ended by a newline."""
    return "".join(f"{row}\n" for row in _rows(diagnostic, paint))


def summarize(diagnostics: Sequence[Diagnostic]) -> str:
    """How many errors and warnings there are.

    >>> summarize([])
    'no problems'
    """
    counts = [(sum(d.severity == kind for d in diagnostics), kind) for kind in ("error", "warning")]
    parts = [f"{count} {kind}{'s' if count > 1 else ''}" for count, kind in counts if count]
    more = "; there may be more" if len(diagnostics) >= MOST else ""
    return (", ".join(parts) or "no problems") + more


def _rows(diagnostic: Diagnostic, paint: Paint) -> Iterator[str]:
    colour = COLOURS[diagnostic.severity]
    yield paint(f"{diagnostic.severity}[{diagnostic.code}]", colour) + paint(f": {diagnostic.message}", "bold")
    groups = _marks_by_source(diagnostic)
    width = number_width(mark for _, marks in groups for mark in marks)
    for position, (source, marks) in enumerate(groups):
        arrow = "-->" if position == 0 else ":::"
        yield paint(f"{' ' * width}{arrow} ", "blue") + f"{source.name}:{marks[0].first}:{marks[0].start + 1}"
        yield from Snippet(source, marks, width, paint, colour).rows()
    yield from _notes(diagnostic, width, paint)


def _marks_by_source(diagnostic: Diagnostic) -> list[tuple[Source, list[Mark]]]:
    """The primary mark first; a related place without an own label still shows where it is."""
    groups = [(diagnostic.location.source, [mark_of(diagnostic.location, diagnostic.label, True)])]
    for related in diagnostic.related:
        mark = mark_of(related.location, related.label, False)
        for source, marks in groups:
            if source == related.location.source:
                marks.append(mark)
                break
        else:
            groups.append((related.location.source, [mark]))
    return groups


def _notes(diagnostic: Diagnostic, width: int, paint: Paint) -> Iterator[str]:
    notes = [("hint", diagnostic.help)] if diagnostic.help else []
    notes += [("fix", f"{fix.title} (applied by --fix)" if fix.safe else fix.title) for fix in diagnostic.fixes]
    if notes:
        yield paint(" " * (width + 1) + "|", "blue")
    for name, text in notes:
        first, *rest = text.splitlines()
        lead = paint(" " * (width + 1) + "= ", "blue")
        yield f"{lead}{paint(f'{name}:', 'bold cyan')} {first}"
        indent = " " * (width + 3 + len(name) + 2)
        yield from (f"{indent}{line}".rstrip() for line in rest)
