"""The reference pages are what the comments and docstrings of the sources say. `ETUDE_ACCEPT=1` writes them anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from etude.compiler import documentation
from etude.compiler.builtins import library_names
from etude.compiler.render.reference import library_page, operations_page

DOCS = Path(__file__).parents[2] / "docs"
PAGES: dict[str, Callable[[], str]] = {"library.md": library_page, "operations.md": operations_page}


@pytest.mark.parametrize("page", PAGES)
def test_a_reference_page_is_current(page: str) -> None:
    made = PAGES[page]()
    if os.environ.get("ETUDE_ACCEPT"):
        (DOCS / page).write_text(made)
    assert (DOCS / page).read_text() == made, f"accept it with ETUDE_ACCEPT=1 pytest {__file__}"


def test_every_name_says_what_it_means() -> None:
    """A docstring for a builtin, `doc` for an operation, a comment right above a function of the library."""
    known = {entry.name: entry.doc for group in documentation.groups() for entry in group.entries}
    assert sorted(name for name, doc in known.items() if len(doc) < 7) == []
    assert sorted(name for name in library_names() if name not in known and name not in documentation.PLAIN) == []
