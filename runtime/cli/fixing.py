"""Apply the fixes that diagnostics bring, as long as each leaves a recipe that reads better than before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etude.compiler.diagnostics import Diagnostic, Edit, Fix

if TYPE_CHECKING:
    from etude.compiler.pipeline import Compilation

Recompile = Callable[[str], "Compilation"]
MAX_ROUNDS = 40
"""Of compiling a recipe again: fixes of one kind of mistake uncover others."""


@dataclass(frozen=True)
class Repair:
    """What became of a recipe: its compilation before and after, and the fixes made, in order."""

    before: Compilation
    after: Compilation
    made: tuple[tuple[Diagnostic, Fix], ...]

    @property
    def changed(self) -> bool:
        return self.after.source.text != self.before.source.text

    def to_json(self) -> list[dict[str, Any]]:
        """Every fix with its place in the text that it was made in."""
        return [self._told(diagnostic, fix) for diagnostic, fix in self.made]

    def _told(self, diagnostic: Diagnostic, fix: Fix) -> dict[str, Any]:
        place = fix.edits[0].location
        line, column = place.source.position(place.span.start)
        name = self.before.source.name
        return {"file": name, "line": line, "column": column, "code": diagnostic.code, "title": fix.title}

    def lines(self) -> list[str]:
        """What was done, for people."""
        return [f"{each['file']}:{each['line']}:{each['column']}: {each['title']}" for each in self.to_json()]

    def diff(self) -> str:
        """The change as a unified diff."""
        import difflib

        name, texts = self.before.source.name, (self.before.source.text, self.after.source.text)
        old, new = (text.splitlines(keepends=True) for text in texts)
        lines = [line if line.endswith("\n") else f"{line}\n" for line in difflib.unified_diff(old, new, name, name)]
        return "".join(lines)


def repair(compilation: Compilation, recompile: Recompile) -> Repair:
    """Make safe fixes until there are none left; those that do not help are left out."""
    current, made = compilation, []
    refused: set[tuple[str, int]] = set()
    together = True
    for _ in range(MAX_ROUNDS):
        offered = [pair for pair in safe_fixes(current) if _name(pair) not in refused]
        if not offered:
            break
        chosen = _apart(offered) if together else offered[:1]
        tried = recompile(apply_edits(current.source.text, _edits(chosen)))
        if is_better(current, tried, chosen):
            made += chosen
            current = tried
        elif len(chosen) > 1:
            together = False
        else:
            refused.add(_name(chosen[0]))
    return Repair(compilation, current, tuple(made))


def safe_fixes(compilation: Compilation) -> list[tuple[Diagnostic, Fix]]:
    """The fixes that need nobody to look at them, and touch this file alone."""
    name = compilation.source.name
    return [
        (diagnostic, fix)
        for diagnostic in compilation.diagnostics
        for fix in diagnostic.fixes[:1]
        if fix.safe and all(edit.location.source.name == name for edit in fix.edits)
    ]


def is_better(before: Compilation, after: Compilation, fixed: Sequence[tuple[Diagnostic, Fix]]) -> bool:
    """Whether a text parses further than before: fewer statements have faults of syntax, or they come later in them.
    Where it parsed already, whether fewer of the messages that were fixed are left."""
    faults, left = syntax_faults(before), syntax_faults(after)
    if faults:
        return len(left) < len(faults) or (len(left) == len(faults) and sum(left) < sum(faults))
    messages = {(each.code, each.message) for each, _ in fixed}
    return not left and _count(after, messages) < _count(before, messages)


def syntax_faults(compilation: Compilation) -> list[int]:
    """How far from the end of the text the faults of syntax lie, one for each statement that does not parse."""
    size = len(compilation.source.text)
    return [size - each.location.span.start for each in compilation.diagnostics if each.code.startswith("E1")]


def _count(compilation: Compilation, messages: set[tuple[str, str]]) -> int:
    return sum((each.code, each.message) in messages for each in compilation.diagnostics)


def _name(pair: tuple[Diagnostic, Fix]) -> tuple[str, int]:
    """A fix by what it says and the line that it is for."""
    diagnostic, fix = pair
    line = diagnostic.location.source.position(diagnostic.location.span.start)[0]
    return f"{diagnostic.code} {fix.title}", line


def _apart(pairs: Sequence[tuple[Diagnostic, Fix]]) -> list[tuple[Diagnostic, Fix]]:
    """The fixes of which no edit overlaps one of an earlier fix."""
    kept: list[tuple[Diagnostic, Fix]] = []
    taken: list[tuple[int, int]] = []
    for pair in pairs:
        spans = [(edit.location.span.start, edit.location.span.end) for edit in pair[1].edits]
        if not any(start <= end_ and start_ <= end for start, end in spans for start_, end_ in taken):
            kept.append(pair)
            taken += spans
    return kept


def _edits(pairs: Iterable[tuple[Diagnostic, Fix]]) -> list[Edit]:
    return [edit for _, fix in pairs for edit in fix.edits]


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """The text with all edits made; none overlaps another."""
    result: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: (edit.location.span.start, edit.location.span.end)):
        span = edit.location.span
        result += [text[at : span.start], edit.text]
        at = span.end
    return "".join([*result, text[at:]])
