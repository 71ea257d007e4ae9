"""The calls around each stage, kept where somebody asks later where its settings come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct, field

from etude.compiler.calls import CallSite, assign
from etude.compiler.diagnostics import Location
from etude.compiler.values import Closure
from etude.grammar import nodes


class Frame(Struct, frozen=True, eq=False):
    """A call of a function that is being evaluated, and where each of its arguments was written."""

    closure: Closure
    places: Mapping[str, Location]


class Watch(Struct):
    """What is kept while a recipe is compiled: by its id, the call that made a stage and the functions around it."""

    frames: list[Frame] = field(default_factory=list)
    stages: dict[str, tuple[CallSite, tuple[Frame, ...]]] = field(default_factory=dict)

    def enter(self, closure: Closure, positional: Sequence[Any], named: Mapping[str, Any], site: CallSite) -> None:
        """A function is called."""
        names = [p.name for p in closure.parameters if isinstance(p, nodes.Parameter)]
        written = {} if closure.is_lambda else assign(names, positional, named, site)[1]
        self.frames.append(Frame(closure, {name: site.at(key) for name, key in written.items()}))

    def note(self, id: str, site: CallSite) -> None:
        """A stage is made; where several calls come to the same one, the first counts."""
        self.stages.setdefault(id, (site, tuple(self.frames)))


_current: Watch | None = None


def current() -> Watch | None:
    """Who watches, mostly nobody."""
    return _current


@contextmanager
def watching() -> Iterator[Watch]:
    """Inside, what is compiled is watched."""
    global _current
    outer, _current = _current, Watch()
    try:
        yield _current
    finally:
        _current = outer
