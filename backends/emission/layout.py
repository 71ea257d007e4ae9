"""Lay out lines as the formatter of the project would: double quotes, and no line over 120 columns."""

from __future__ import annotations

import re
from collections.abc import Iterable

WIDTH = 120
INDENT = "    "
QUOTED = re.compile(r"'([^'\"\\]*)'")
STATEMENT = re.compile(r"(\s*(?:return |\w+ = ))")
TARGETS = re.compile(r"(\s*)(\w+(?:, \w+)+) = ")
OPENING, CLOSING = "([{", ")]}"
ATOM = re.compile(r"[\w.]+")


def double_quoted(text: str) -> str:
    """`text`, an expression, with double quotes around its strings."""
    return QUOTED.sub(r'"\1"', text)


def quoted(text: str) -> str:
    """A string as Python source.

    >>> quoted("label")
    '"label"'
    """
    return double_quoted(repr(text))


def indented(lines: Iterable[str]) -> list[str]:
    """The lines one level deeper."""
    return [INDENT + line if line else line for line in lines]


def fit(line: str) -> list[str]:
    """`line` as several lines where it is too long: taken apart at operators, or at brackets and their commas.

    >>> fit("x = f(a)")
    ['x = f(a)']
    """
    if len(line) <= WIDTH:
        return [line]
    return _at_targets(line) or _at_operators(line) or _at_brackets(line)


def _at_targets(line: str) -> list[str]:
    """An assignment to more names than fit on a line, with a line for each; nothing where they fit."""
    targets = TARGETS.match(line)
    if targets is None or targets.end() <= WIDTH:
        return []
    indent, names = targets[1], targets[2].split(", ")
    first, *rest = fit(f"{indent}_ = {line[targets.end() :]}")
    return [f"{indent}(", *(f"{indent}{INDENT}{name}," for name in names), first.replace("_ = ", ") = ", 1), *rest]


def _at_operators(line: str) -> list[str]:
    """A statement whose value is a sum or a product, with a line for each part; nothing where it is not."""
    statement = STATEMENT.match(line)
    for operators in ("+-", "*/@") if statement else ():
        assert statement is not None
        head, value = statement[1], line[statement.end() :]
        parts = _items(value, f" {operators}")
        if len(parts) > 1:
            indent = line[: len(line) - len(line.lstrip())]
            lines = [indent + INDENT + part for part in parts]
            return [f"{head}(", *(short for part in lines for short in fit(part)), f"{indent})"]
    return []


def _at_brackets(line: str) -> list[str]:
    pair = _brackets_to_open(line)
    if pair is None:
        return [line]
    start, end = pair
    indent = line[: len(line) - len(line.lstrip())]
    inside = line[start + 1 : end]
    body = f"{indent}{INDENT}{inside}"
    parts = [body]
    if len(body) > WIDTH:
        parts = [f"{indent}{INDENT}{item}," for item in _items(inside, ",")]
    return [line[: start + 1], *(short for part in parts for short in fit(part)), indent + line[end:]]


def _brackets_to_open(line: str) -> tuple[int, int] | None:
    """Where the brackets to take apart open and close: those of parameters, else the last that are not empty."""
    found = [(start, end) for start, end in _brackets(line) if end - start > 1]
    if not found:
        return None
    return found[0] if line.lstrip().startswith("def ") else found[-1]


def _brackets(text: str) -> Iterable[tuple[int, int]]:
    depth, start = 0, 0
    for position, character in _code(text):
        if character in OPENING:
            if depth == 0:
                start = position
            depth += 1
        elif character in CLOSING:
            depth -= 1
            if depth == 0:
                yield start, position


def _items(text: str, separators: str) -> list[str]:
    """The parts of `text` between its outermost commas, or from one outermost spaced operator to the next."""
    depth, start = 0, 0
    items = []
    for position, character in _code(text):
        depth += (character in OPENING) - (character in CLOSING)
        is_comma = separators == "," and character == ","
        is_operator = separators != "," and character in separators[1:] and text[position - 1 : position] == " "
        if depth == 0 and (is_comma or (is_operator and text[position + 1] == " ")):
            items.append(text[start:position].strip())
            start = position + is_comma
    return [item for item in (*items, text[start:].strip()) if item]


def closing(text: str, start: int) -> int:
    """The position of the bracket that closes the one at `start`.

    >>> closing("f(g(x), y)[0]", 1)
    9
    """
    depth = 0
    for position, character in _code(text[start:]):
        depth += (character in OPENING) - (character in CLOSING)
        if depth == 0:
            return start + position
    raise AssertionError(f"brackets do not match in {text}")


def is_atom(text: str) -> bool:
    """Whether `text` can stand anywhere without parentheses: a name, or a chain of calls and subscripts of one."""
    head = ATOM.match(text)
    if head is None or head[0][0].isdigit():
        return False
    position = head.end()
    while position < len(text):
        if text[position] == ".":
            name = ATOM.match(text, position + 1)
            if name is None:
                return False
            position = name.end()
        elif text[position] in "([":
            position = closing(text, position) + 1
        else:
            return False
    return True


def _code(text: str) -> Iterable[tuple[int, str]]:
    """The characters outside of strings, with their positions."""
    quote = ""
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            yield position, character
