"""Where a fault is shown: one inside of the library at the call in the recipe, one in another file with the call."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from etude.compiler.diagnostics import Diagnostic, Location, Related

CALLED = "called from here"


def blamed(diagnostic: Diagnostic, sites: Sequence[Location]) -> Diagnostic:
    """The fault as the recipe's author should see it; `sites` are the calls around it, outermost first."""
    if not sites:
        return diagnostic
    if is_library(diagnostic.location):
        return relocate(diagnostic, sites[-1], "in this call")
    file = diagnostic.location.source
    caller = next((site for site in reversed(sites) if site.source != file), None)
    if caller is None or any(each.label == CALLED for each in diagnostic.related):
        return diagnostic
    return replace(diagnostic, related=(*diagnostic.related, Related(caller, CALLED)))


def is_library(location: Location) -> bool:
    """Whether a place is in the standard library rather than in a recipe."""
    return location.source.name.startswith("std.")


def relocate(diagnostic: Diagnostic, place: Location, label: str) -> Diagnostic:
    """The diagnostic at a place of the recipe, with the library's own place beside it."""
    inside = Related(diagnostic.location, diagnostic.label or "raised here, in the library")
    return replace(diagnostic, location=place, label=label, related=(*diagnostic.related, inside), fixes=())
