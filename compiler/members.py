"""Members of a sweep that measure or map alike, each with a model of its own: traced for the first two, then shared.

The stage of a further member is that of the first with other stages as inputs and other names of models. That this is
so is not taken for granted: what was traced for the second member has to be what was derived from the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from etude.compiler.calls import CallSite
from etude.compiler.captures import MOST_KEPT, Holes, TooDeep, captured
from etude.compiler.slots import Inputs, SlotTable, warn_about_fresh
from etude.compiler.values import Dataset
from etude.compiler.workflow import Ref

Json = Any


class RowStage(Struct):
    """The spec of a stage with a row function, as far as the function decides it, its inputs, and its weights.

    `traced` is what else tracing found out, which is the same for all members.
    """

    spec: dict[str, Json]
    inputs: Inputs
    slots: SlotTable
    traced: Any


class Pattern(Struct):
    """What a first member came to. `is_proven` since another came to the same, None until there was one."""

    first: RowStage
    holes: Holes
    kept: list[Any]
    is_proven: bool | None = None

    def member(self, data: Ref, holes: Holes) -> RowStage:
        """The stage of a member with other stages and names in the holes."""
        stages = dict(zip(self.holes.stages, holes.stages, strict=True))
        names = {old: new for old, new in zip(self.holes.names, holes.names, strict=True) if old != new}
        refs = [Ref(stages.get(ref.stage, ref.stage), ref.port) for ref in self.first.inputs.refs[1:]]
        spec = _renamed(self.first.spec, names) if names else dict(self.first.spec)
        return RowStage(spec, Inputs([data, *refs]), self.first.slots, self.first.traced)


def shared(
    site: CallSite, d: Dataset, function: Any, settings: tuple[Any, ...], make: Callable[[], RowStage]
) -> RowStage:
    """What `make` gives, derived from that of another member of a sweep where there is one.

    `make` must depend on nothing but the function, the columns of the data, the settings and the session's seed.
    """
    session = site.session
    if session.frame is not None or any(column.vocabulary is not None for column in d.columns.values()):
        return make()  # which tokens a model was given is kept for each
    holes, kept = Holes(), [d.columns]
    try:
        parts = tuple(captured(session, value, kept, holes=holes) for value in settings)
        key = (site.name, captured(session, function, kept, holes=holes), id(d.columns), parts, session.seed)
    except TooDeep:
        return make()
    known: dict[Any, Pattern] = session.memo.setdefault("members", {})
    pattern = known.get(key)
    if pattern is not None and pattern.is_proven:
        made = pattern.member(d.ref, holes)
        warn_about_fresh(site, made.slots)
        return made
    before, made = session.asked, make()
    if pattern is not None:
        if pattern.is_proven is None:
            derived = pattern.member(d.ref, holes)
            pattern.is_proven = (derived.spec, derived.inputs.refs) == (made.spec, made.inputs.refs)
    elif session.asked == before:  # else each member asks for stages in its own name and under its own conditions
        if len(known) >= MOST_KEPT:
            known.clear()
        known[key] = Pattern(made, holes, kept)
    return made


def _renamed(spec: Mapping[str, Json], names: Mapping[str, str]) -> dict[str, Json]:
    """A spec with other names of models, which are in the paths of weights and in the program for people to read."""

    def renamed(name: str, ends: tuple[str, ...]) -> str:
        for old, new in names.items():
            if name == old or (name.startswith(old) and name[len(old)] in ends):
                return new + name[len(old) :]
        return name

    def sub(old: Mapping[str, Json]) -> Mapping[str, Json]:
        children = [[renamed(name, ("_",)), index] for name, index in old["children"]]
        name = renamed(old["name"], ())
        return (
            old if (name, children) == (old["name"], old["children"]) else {**old, "name": name, "children": children}
        )

    program = {**spec["program"], "subs": [sub(each) for each in spec["program"]["subs"]]}
    slots = [{**slot, "path": renamed(slot["path"], (".", "_"))} for slot in spec["slots"]]
    return {**spec, "program": program, "slots": slots}
