"""Stages of intermediate models: `a + 0.5 * (b - a)` is computed at once, what computes `b - a` is left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec.structs import replace

from etude.compiler.workflow import Stage


def without_passed_over(
    stages: Mapping[str, Stage], ends: Collection[str], asked: Mapping[str, str]
) -> dict[str, Stage]:
    """The stages without those that compute weights for nobody. `asked` has the names that stages would have if those
    had not taken them."""
    if not any(stage.kind == "edit" for stage in stages.values()):
        return dict(stages)
    used = {ref.stage for stage in stages.values() for ref in (*stage.inputs, *stage.guards)} | set(ends)
    unused = {id for id, stage in stages.items() if stage.kind == "edit" and id not in used}
    if not unused:
        return dict(stages)
    names = {stages[id].name for id in unused}
    kept = {id: stage for id, stage in stages.items() if id not in unused}
    for id, name in asked.items():
        if id in kept and kept[id].kind == "edit" and name in names:
            kept[id] = replace(kept[id], name=name)
            names.discard(name)
    return without_passed_over(kept, ends, asked)
