"""Fill templates of functions: named holes for pieces of text, and lines that may be left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

LINES = re.compile(r"^( *)<(\w+)>$")
HOLE = re.compile(r"<(\w+)>")


def fill(template: str, **pieces: str | Sequence[str] | None) -> list[str]:
    """The lines of `template`: `<name>` is replaced by a text; alone on its line by lines, or by nothing.

    >>> fill("def f(<args>):\\n    <body>\\n    <rest>", args="x", body=["y = x", "return y"], rest=None)
    ['def f(x):', '    y = x', '    return y']
    """
    lines: list[str] = []
    for line in template.strip("\n").splitlines():
        alone = LINES.match(line)
        if alone:
            piece = pieces[alone[2]]
            found = [piece] if isinstance(piece, str) else piece or []
            lines += [alone[1] + text if text else text for text in found]
        else:
            lines.append(HOLE.sub(lambda match: _text(pieces, match[1]), line))
    return lines


def _text(pieces: Mapping[str, str | Sequence[str] | None], name: str) -> str:
    piece = pieces[name]
    assert isinstance(piece, str), f"<{name}> stands inside a line and needs a text"
    return piece
