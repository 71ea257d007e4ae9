"""Lexical scopes: what a name means where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import Struct, field

from etude.compiler.diagnostics import Location, Source


class Lazy(Struct):
    """A binding of the top level, evaluated when it is first used, by `force`."""

    name: str
    location: Location
    force: Callable[[], Any]


class Scope(Struct):
    """Names of one block; `parent` is the block around it. `source` is the file that the code stands in. `is_model` is
    the block of a model's settings and inputs."""

    source: Source
    parent: Scope | None = None
    names: dict[str, Any] = field(default_factory=dict)
    is_library: bool = False
    is_model: bool = False

    def child(self, **names: Any) -> Scope:
        return Scope(self.source, self, dict(names), self.is_library)

    def find(self, name: str) -> Any:
        """The raw entry (a value or a `Lazy`), or `MISSING`."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return MISSING

    def is_outside_of_model(self, name: str) -> bool:
        """Whether this stands in the body of a model, and the name is bound around it."""
        scope: Scope | None = self
        is_inside = False
        while scope is not None and name not in scope.names:
            is_inside |= scope.is_model
            scope = scope.parent
        return is_inside

    def visible(self) -> Iterator[str]:
        """All names that can be seen from here, nearest first."""
        scope: Scope | None = self
        while scope is not None:
            yield from scope.names
            scope = scope.parent


class Missing:
    """The answer of `Scope.find` for an unknown name."""


MISSING = Missing()


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name`, if any is close enough to suggest."""
    import difflib  # only where there is a mistake

    found = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """A hint with the nearest candidate, or None."""
    close = nearest(name, candidates)
    return f"did you mean '{close}'?" if close else None
