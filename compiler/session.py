"""The state of one compilation: what has been reported, the stages made so far, and where the evaluation stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from etude.compiler.blame import blamed
from etude.compiler.diagnostics import Diagnostic, Diagnostics, Location
from etude.compiler.extent import Extent
from etude.compiler.limits import Work
from etude.compiler.schema import ColumnSchema, SourceSchema
from etude.compiler.stages import StageTable
from etude.compiler.values import AnyOrigin, Wrapper
from etude.compiler.workflow import Ref

if TYPE_CHECKING:
    from etude.compiler.calls import CallSite
    from etude.compiler.tracing import Frame

DescribeSource = Callable[[str, dict[str, Any], Callable[[str], Location]], SourceSchema]


class Session(Struct):
    """Everything that evaluation reads or adds to beside scopes. `frames` is the stack of traced functions; `live`
    holds the weights that the `train` being traced updates (None elsewhere, and while they are still being found).
    `wraps` are the wrappers of the model whose base is being traced, outermost first, each with what was live around
    it; `ordinal` tells apart the models that a function makes for several parts.
    `places` has where each stage stands, `sources` the columns of what was loaded and of its parts, `tests` those of
    them where test data comes into being, `disjoint` the pairs of datasets that the recipe assumes to share no row.
    `asked` counts how often a stage was asked for, also where there was an equal one."""

    describe_source: DescribeSource
    evaluator: Any = None
    library: Any = None
    allowed: frozenset[str] = frozenset()
    seed: int = 0
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    stages: StageTable = field(default_factory=StageTable)
    places: dict[str, Location] = field(default_factory=dict)
    sources: dict[Ref, Mapping[str, ColumnSchema]] = field(default_factory=dict)
    tests: set[Ref] = field(default_factory=set)
    disjoint: list[tuple[Ref, Ref]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    inner_names: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    call_sites: list[Location] = field(default_factory=list)
    made_at: list[tuple[Location, int]] = field(default_factory=list)
    guard: Ref | None = None
    memo: dict[Any, Any] = field(default_factory=dict)
    counter: int = 0
    asked: int = 0
    work: Work = field(default_factory=Work)
    extent: Extent = field(default_factory=Extent)
    live: frozenset[AnyOrigin] | None = None
    wraps: tuple[tuple[Wrapper, frozenset[AnyOrigin] | None], ...] = ()
    ordinal: int | None = None

    @property
    def frame(self) -> Frame | None:
        return self.frames[-1] if self.frames else None

    def place(self, location: Location) -> Location:
        """The place in the recipe from which a place in the library was reached."""
        in_library = location.source.name.startswith("std.")
        return self.call_sites[-1] if in_library and self.call_sites else location

    def blamed(self, diagnostic: Diagnostic) -> Diagnostic:
        """A fault as the author should see it, from where the evaluation is."""
        made, around = self.made_at[-1] if self.made_at else (None, 0)
        is_row = bool(self.frames) and self.frames[0].kind == "row"
        return blamed(diagnostic, self.call_sites, made if around == len(self.call_sites) else None, is_row)

    @contextmanager
    def called_at(self, site: CallSite) -> Iterator[None]:
        """Inside of a call that the recipe writes."""
        if site.in_library:
            yield
            return
        self.call_sites.append(site.location)
        try:
            yield
        finally:
            self.call_sites.pop()

    @contextmanager
    def in_model_made_at(self, location: Location) -> Iterator[None]:
        """Inside of a model of the library that the recipe makes at a place."""
        self.made_at.append((location, len(self.call_sites)))
        try:
            yield
        finally:
            self.made_at.pop()

    def next_id(self) -> int:
        self.counter += 1
        return self.counter

    @contextmanager
    def named(self, name: str | None, *, group: bool = False, inner: bool = False) -> Iterator[None]:
        """Inside, stages are named below `name`, and with `group` drawn together; `inner` names are the library's."""
        if name is None:
            yield
            return
        if inner:
            self.inner_names.append(name)
            try:
                yield
            finally:
                self.inner_names.pop()
            return
        self.names.append(name)
        if group:
            self.groups.append(".".join(self.names))
        try:
            yield
        finally:
            self.names.pop()
            if group:
                self.groups.pop()

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Inside, `seed` is the default of every stage."""
        outer, self.seed = self.seed, seed
        try:
            yield
        finally:
            self.seed = outer

    @contextmanager
    def guarded(self, guard: Ref | None) -> Iterator[None]:
        """Inside, stages run only if the value at `guard` is true."""
        outer, self.guard = self.guard, guard
        try:
            yield
        finally:
            self.guard = outer

    @contextmanager
    def from_top(self, seed: int) -> Iterator[None]:
        """Evaluate a binding of the top level: nothing of the place that asked for it shows."""
        kept = self.seed, self.frames, self.names, self.inner_names, self.groups, self.live, self.guard
        around, self.wraps, self.ordinal = (self.wraps, self.ordinal), (), None
        self.seed, self.live, self.guard = seed, None, None
        self.frames, self.names, self.inner_names, self.groups = [], [], [], []
        extent, stages, self.extent = self.extent, len(self.stages.stages), Extent()
        try:
            yield
        finally:
            made = len(self.stages.stages) - stages
            self.extent, extent.before, extent.next = extent, extent.before + made, extent.next + made
            self.seed, self.frames, self.names, self.inner_names, self.groups, self.live, self.guard = kept
            self.wraps, self.ordinal = around

    def stage_name(self, kind: str) -> str:
        """What people call a stage made now: the bindings around it; helpers of the library add their own names."""
        names = [*self.names, *(self.inner_names if kind != "train" or not self.names else ())] or [kind]
        return "".join(name if name.startswith("[") or i == 0 else f".{name}" for i, name in enumerate(names))

    @contextmanager
    def tracing(self, frame: Frame) -> Iterator[None]:
        frame.session = self
        self.frames.append(frame)
        try:
            yield
        finally:
            self.frames.pop()
