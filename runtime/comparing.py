"""What an edit would make run again: two recipes compared stage by stage, or one with the last run of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from etude.compiler import wording
from etude.compiler.keys import recipe_keys
from etude.compiler.workflow import Stage, Workflow
from etude.runtime.accounts import Account
from etude.runtime.differences import Change, differences
from etude.runtime.planning import PlannedStage

Json = Any
Kind: TypeAlias = Literal["edited", "added", "follows"]


@dataclass(frozen=True)
class StageDifference:
    """A stage that is not what it was: edited itself, new, or behind one that is."""

    stage: Stage
    kind: Kind
    action: str
    changed: Sequence[Change]


@dataclass(frozen=True)
class Difference:
    """All stages that an edit touches, in order, and the names of those that are gone."""

    before: str
    after: str
    stages: Sequence[StageDifference]
    removed: Sequence[str]


def compare_recipes(
    before: Workflow, after: Workflow, planned: Mapping[str, PlannedStage], backend: str, precision: str
) -> Difference:
    """The stages of `after` that `before` does not have. `planned` says which of them the store has all the same."""
    old_keys, new_keys = recipe_keys(before), recipe_keys(after)
    known, wanted = set(old_keys.values()), set(new_keys.values())
    left = {id: stage for id, stage in before.stages.items() if old_keys[id] not in wanted}
    pairs: dict[str, Stage] = {}
    found = []
    for id, stage in after.stages.items():
        if new_keys[id] in known:
            continue
        other = _counterpart(stage, left.values())
        if other is None:
            found.append(StageDifference(stage, "added", planned[id].action, ()))
            continue
        del left[other.id]
        pairs[id] = other
        changed = _changes(other, stage, before, after, backend, precision)
        found.append(StageDifference(stage, "edited" if changed else "follows", planned[id].action, changed))
    return Difference(before.recipe, after.recipe, found, [stage.name for stage in left.values()])


def _counterpart(stage: Stage, others: Iterable[Stage]) -> Stage | None:
    """The stage of another recipe that this one was: by name, else the only one of its kind and group."""
    alike = [other for other in others if other.kind == stage.kind]
    named = [other for other in alike if other.name == stage.name]
    return named[0] if named else alike[0] if len(alike) == 1 else None


def _changes(old: Stage, new: Stage, before: Workflow, after: Workflow, backend: str, precision: str) -> list[Change]:
    accounts = []
    for stage, workflow in ((old, before), (new, after)):
        unknown = [None] * max(1, len(stage.inputs))
        accounts.append(Account.of(stage, workflow, unknown, backend, precision))
    changed = differences(accounts[0], accounts[1], _outlines(old, new))
    if new.kind == "load" and old.spec["uri"] != new.spec["uri"]:
        changed.append(Change("input", "uri", old.spec["uri"], new.spec["uri"]))
    return changed


def _outlines(*stages: Stage) -> Any:
    programs = {program["digest"]: program for stage in stages for program in wording.programs_of(stage)}
    return lambda digest: wording.outline(programs[digest]) if digest in programs else None
