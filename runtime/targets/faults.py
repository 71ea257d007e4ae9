"""What can be wrong in an `etude.toml`: one constructor per diagnostic code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from etude.compiler.diagnostics import Diagnostic, Location

SHOWN = 60  # letters of a table that is shown


def unknown_setting(key: str, owner: str, location: Location, known: Iterable[str]) -> Diagnostic:
    known = list(known)
    close = _nearest(key, known)
    help = f"did you mean '{close}'?" if close else f"{owner} has {', '.join(known)}"
    return Diagnostic("E421", f"nothing reads '{key}' of {owner}", location, "not a setting", help=help)


def wrong_value(key: str, value: object, location: Location, wants: str) -> Diagnostic:
    return Diagnostic("E422", f"'{key}' cannot be {_shown(value)}", location, f"expected {wants}")


def unread_setting(key: str, owner: str, location: Location, reason: str, known: Iterable[str]) -> Diagnostic:
    help = f"take it out; what is read here: {', '.join(known)}"
    return Diagnostic("E423", f"nothing reads '{key}' of {owner}: {reason}", location, "read by nothing", help=help)


def no_such_stage(pattern: str, owner: str, location: Location, near: Iterable[str]) -> Diagnostic:
    names = list(near)
    close = _nearest(pattern, names)
    help = f"did you mean '{close}'?" if close else f"what a backend runs here: {', '.join(names[:8]) or 'nothing'}"
    text = f"'{pattern}' of {owner} is no stage that runs on a backend"
    return Diagnostic("E424", text, location, "settings for nothing", help=help)


def other_devices(owner: str, mesh: Mapping[str, int], location: Location, there: str, count: int) -> Diagnostic:
    wanted, sides = math.prod(mesh.values()), " x ".join(map(str, mesh.values()))
    label = f"{sides} = {wanted} devices" if len(mesh) > 1 else f"{wanted} devices"
    help = f"make the product of its sides {count}, as in mesh = {{data = {count}}}"
    return Diagnostic("E425", f"the mesh of {owner} takes {wanted} devices, and {there}", location, label, help=help)


def _nearest(name: str, known: list[str]) -> str | None:
    import difflib

    return next(iter(difflib.get_close_matches(name, known, 1)), None)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        text = f"{{{', '.join(f'{name} = {_shown(each)}' for name, each in value.items())}}}"
        return text if len(text) < SHOWN else "a table"
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
