"""Small texts, and what the grammar makes of them: their trees, their faults, their canonical form.

A golden file holds blocks: lines of source behind `| `, then the expected text. `ETUDE_ACCEPT=1` writes it anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from etude.grammar.faults import SyntaxFault, SyntaxWarning_
from etude.grammar.formatter import format_source
from etude.grammar.nodes import Node, Span
from etude.grammar.parser import parse, parse_with_warnings

FOLDER = Path(__file__).with_name("goldens")


def tree(source: str) -> str:
    """Show the tree of every statement on a line of its own."""
    return "".join(f"{shown(statement)}\n" for statement in parse(source).statements)


def shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Node):
        parts = [shown(getattr(value, name)) for name in value.__struct_fields__ if name not in ("span", "name_span")]
        return f"{type(value).__name__}({', '.join(parts)})"
    return repr(value)


def fault(source: str) -> str:
    """Show what is said about a text."""
    try:
        _, warnings = parse_with_warnings(source)
    except SyntaxFault as found:
        return said(source, found)
    return "".join(said(source, warning) for warning in warnings) or "nothing to say\n"


def said(source: str, found: SyntaxFault | SyntaxWarning_) -> str:
    lines = [f"{found.code}: {found.message}", f"  at {place(source, found.span)}: {found.label}"]
    lines += [f"  see {place(source, span)}: {label}" for span, label in found.related]
    lines += [f"  hint: {found.help}"] * bool(found.help)
    return "".join(f"{line}\n" for line in lines)


def place(source: str, span: Span) -> str:
    before = source[: span.start]
    return f"{before.count(chr(10)) + 1}:{span.start - before.rfind(chr(10))} {source[span.start : span.end]!r}"


def test_every_construct_has_its_tree() -> None:
    check("parses.txt", tree)


def test_every_mistake_has_its_message() -> None:
    check("faults.txt", fault)


def test_every_text_has_its_canonical_form() -> None:
    check("formats.txt", format_source)


def test_every_code_of_the_grammar_has_a_golden_message() -> None:
    folder = Path(__file__).parents[2] / "grammar"
    code = "".join(path.read_text() for path in folder.rglob("*.py"))
    messages = (FOLDER / "faults.txt").read_text()
    raised = {f"{kind}1{number:02}" for kind in "EW" for number in range(100) if f'"{kind}1{number:02}"' in code}

    assert [one for one in sorted(raised) if f"\n{one}: " not in messages] == []


def check(name: str, make: Callable[[str], str]) -> None:
    path = FOLDER / name
    expected = path.read_text()
    found = "\n".join(quoted(source) + make(source) for source in sources(expected))
    if os.environ.get("ETUDE_ACCEPT"):
        path.write_text(found)
    elif found != expected:
        pytest.fail("\n".join(differences(expected, found)))


def sources(golden: str) -> list[str]:
    """Read the sources of a golden file: runs of lines behind `|`."""
    found: list[list[str]] = [[]]
    for line in golden.split("\n"):
        if line.startswith("|"):
            found[-1].append(line[2:])
        elif found[-1]:
            found.append([])
    return ["\n".join(lines) for lines in found if lines]


def quoted(source: str) -> str:
    return "".join(f"| {line}".rstrip(" ") + "\n" for line in source.split("\n"))


def differences(expected: str, found: str) -> list[str]:
    import difflib

    return list(difflib.unified_diff(expected.split("\n"), found.split("\n"), "golden", "now", lineterm="", n=6))
