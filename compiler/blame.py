"""Where a fault is shown: one inside of the library at the call in the recipe, one in another file with the call."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from etude.compiler.diagnostics import Diagnostic, Location, Related
from etude.compiler.given_arguments import argument_of

CALLED = "called from here"
OF_ONE_ROW = "in a function of rows a model takes one row, and makes a batch of it: leave out [newaxis], and [0] behind"


def blamed(
    diagnostic: Diagnostic, sites: Sequence[Location], made: Location | None = None, is_row: bool = False
) -> Diagnostic:
    """The fault as the recipe's author should see it; `sites` are the calls around it, outermost first.

    `made` is where the model comes from that the last call is of; with `is_row` the calls are those of a function of
    rows.
    """
    if is_library(diagnostic.location) and sites:
        given = argument_of(sites[-1], _text(diagnostic.location))
        if given is not None:  # the library only hands it on
            return replace(diagnostic, location=given, fixes=())
        shown = relocate(diagnostic, sites[-1], "in this call")
        if made is not None and made != sites[-1] and not _is_inside(made, sites[-1]):
            shown = replace(shown, related=(*shown.related, Related(made, "the model is made here")))
        by_hand = is_row and shown.help is None and "[newaxis" in _text(sites[-1])
        return replace(shown, help=OF_ONE_ROW) if by_hand else shown
    if is_library(diagnostic.location):
        return diagnostic if made is None else relocate(diagnostic, made, "in this call")
    file = diagnostic.location.source
    caller = next((site for site in reversed(sites) if site.source != file), None)
    if caller is None or any(each.label == CALLED for each in diagnostic.related):
        return diagnostic
    return replace(diagnostic, related=(*diagnostic.related, Related(caller, CALLED)))


def _is_inside(place: Location, other: Location) -> bool:
    inside = other.span.start <= place.span.start and place.span.end <= other.span.end
    return place.source == other.source and inside


def _text(place: Location) -> str:
    return place.source.text[place.span.start : place.span.end]


def is_library(location: Location) -> bool:
    """Whether a place is in the standard library rather than in a recipe."""
    return location.source.name.startswith("std.")


def relocate(diagnostic: Diagnostic, place: Location, label: str) -> Diagnostic:
    """The diagnostic at a place of the recipe, with the library's own place beside it."""
    inside = Related(diagnostic.location, diagnostic.label or "raised here, in the library")
    return replace(diagnostic, location=place, label=label, related=(*diagnostic.related, inside), fixes=())
