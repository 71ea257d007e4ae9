"""What can be wrong in an `etude.toml`: one constructor per diagnostic code."""

from __future__ import annotations

from collections.abc import Iterable

from etude.compiler.diagnostics import Diagnostic, Location


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


def _nearest(name: str, known: list[str]) -> str | None:
    import difflib

    return next(iter(difflib.get_close_matches(name, known, 1)), None)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
