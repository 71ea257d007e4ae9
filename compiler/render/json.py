"""Diagnostics for programs, in the shape that the manual documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from etude.compiler.diagnostics import Diagnostic, Fix, Location

Json = Any


def diagnostics_to_json(files: Sequence[str], diagnostics: Iterable[Diagnostic]) -> Json:
    """The object that `etude check --format json` prints. Lines and columns count from 1, the end is exclusive."""
    return {"files": list(files), "diagnostics": [diagnostic_to_json(item) for item in diagnostics]}


def diagnostic_to_json(diagnostic: Diagnostic) -> Json:
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        **place_to_json(diagnostic.location),
        "label": diagnostic.label,
        "related": [{**place_to_json(item.location), "label": item.label} for item in diagnostic.related],
        "help": diagnostic.help,
        "fixes": [_fix_to_json(fix) for fix in diagnostic.fixes],
    }


def place_to_json(location: Location) -> dict[str, Json]:
    """A span as a file with lines and columns."""
    line, column = location.source.position(location.span.start)
    end_line, end_column = location.source.position(location.span.end)
    return {
        "file": location.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }


def _fix_to_json(fix: Fix) -> Json:
    edits = [
        {
            "file": edit.location.source.name,
            "start": edit.location.span.start,
            "end": edit.location.span.end,
            "text": edit.text,
        }
        for edit in fix.edits
    ]
    return {"title": fix.title, "edits": edits, "safe": fix.safe}
