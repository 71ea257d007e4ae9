"""The words of messages about modules; see `faults`."""

from __future__ import annotations

from collections.abc import Sequence

from etude.compiler.diagnostics import Location, RecipeError
from etude.compiler.faults import fault
from etude.compiler.suggestions import rename
from etude.grammar.nodes import Span


def unknown_module(path: str, location: Location, known: Sequence[str]) -> RecipeError:
    start = location.source.text.find(path, location.span.start)  # the path alone, without its `use`
    location = Location(location.source, Span(start, start + len(path)))
    help, fixes = rename(location, path, known)
    text = f"there is no module '{path}'"
    return fault("E209", text, location, "not found", help=help or f"known: {', '.join(known)}", fixes=fixes)


def unopened_module(path: str, name: str, location: Location) -> RecipeError:
    help = f"write 'use {path}' at the top for all of its names, or 'use {path} as {name}' for {name}.NAME"
    return fault("E203", f"the module '{path}' is not open", location, "not open here", help=help)


def ambiguous_name(name: str, modules: Sequence[str], location: Location) -> RecipeError:
    return fault(
        "E210",
        f"'{name}' is defined by {' and '.join(modules)}",
        location,
        "which one is meant?",
        help=f"open one of them under a name: use {modules[-1]} as other",
    )


def unreadable_module(path: str, location: Location, reason: str) -> RecipeError:
    help = "a path is relative to the folder of the file that it stands in"
    return fault("E212", f"cannot use '{path}': {reason}", location, "not read", help=help)


def module_cycle(paths: Sequence[str], location: Location) -> RecipeError:
    return fault(
        "E208",
        f"'{paths[0]}' uses itself",
        location,
        "the cycle closes here",
        help=f"the path is {' -> '.join(paths)}; move what both need into a third file",
    )
