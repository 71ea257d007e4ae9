"""Apply the fixes that diagnostics bring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etude.compiler.diagnostics import Diagnostic, Edit


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """The text with all edits made; an edit that overlaps an earlier one is left out."""
    result: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: (edit.location.span.start, edit.location.span.end)):
        span = edit.location.span
        if span.start >= at:
            result += [text[at : span.start], edit.text]
            at = span.end
    return "".join([*result, text[at:]])


def fix_file(path: Path, diagnostics: Sequence[Diagnostic]) -> bool:
    """Make the safe edits that belong to the file; whether there were any."""
    fixes = [fix for diagnostic in diagnostics for fix in diagnostic.fixes if fix.safe]
    edits = [edit for fix in fixes for edit in fix.edits if edit.location.source.name == str(path)]
    if not edits:
        return False
    path.write_text(apply_edits(edits[0].location.source.text, edits), encoding="utf-8")
    return True
