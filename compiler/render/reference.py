"""The reference pages of the manual, `docs/library.md` and `docs/operations.md`: what names mean."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from etude.compiler.documentation import Entry, Group, language, library, operations
from etude.compiler.modules import ALWAYS_OPEN

WIDTH = 120
GENERATED = (
    "<!-- Made from the comments and docstrings of the sources; `ETUDE_ACCEPT=1 pytest {test}` makes it anew. -->"
)
TEST = "tests/project/test_reference.py"


def library_page() -> str:
    """The page of the standard library."""
    head = """
        The library is written in Etude, in `compiler/std/`: a recipe can do all that it does. The modules {open} are
        always open, another one is opened by `use`. `etude doc NAME` prints the same in a terminal. Shapes stand in
        brackets; `b` is the batch.
    """
    opened = ", ".join(f"`{name}`" for name in ALWAYS_OPEN)
    return _page("The standard library", head.format(open=opened), _modules(library()))


def operations_page() -> str:
    """The page of builtins and tensor operations."""
    head = """
        What is there before a recipe's first line and is no library function: the builtins, which make stages and
        settings, and the operations of tensor programs. The kind of an argument of an operation stands behind its name:
        `number`, `float`, `int`, `bool` and `tensor` are tensors, the others are known before the run. An operation
        means the same on NumPy, PyTorch and JAX.
    """
    body = [_section("Builtins", 2), *_tables(language()), _section("Operations", 2), *_tables(operations())]
    return _page("Builtins and operations", head, body)


def _page(title: str, head: str, body: Iterable[str]) -> str:
    parts = [_section(title, 1), GENERATED.format(test=TEST), _paragraph(head), *body]
    return "\n\n".join(parts) + "\n"


def _section(title: str, level: int) -> str:
    return f"{'#' * level} {title}"


def _paragraph(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def _modules(groups: Iterable[Group]) -> Iterator[str]:
    for group in groups:
        yield _section(group.name, 2)
        if group.doc:
            yield _paragraph(group.doc)
        for entry in group.entries:
            yield _section(entry.name, 3)
            yield "```\n" + textwrap.fill(entry.signature, WIDTH, subsequent_indent="    ") + "\n```"
            yield _paragraph(entry.doc)


def _tables(groups: Iterable[Group]) -> Iterator[str]:
    for group in groups:
        yield _section(group.name.replace("_", " "), 3)
        yield _paragraph(group.doc)
        yield "\n".join(["| written | means |", "|---|---|", *(_row(entry) for entry in group.entries)])


def _row(entry: Entry) -> str:
    cells = (f"`{entry.signature}`", " ".join(entry.doc.split()))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
