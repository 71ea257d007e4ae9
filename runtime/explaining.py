"""Why a stage would run: the first difference from what was recorded of it, down to where the change began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any

from etude.compiler import wording
from etude.compiler.workflow import Stage, Workflow
from etude.runtime.accounts import Account, Accounts
from etude.runtime.differences import Change, content_text, differences, input_path
from etude.runtime.planning import PlannedStage, output_hashes
from etude.runtime.runs import Run, list_runs
from etude.runtime.stages import Settings
from etude.runtime.store import Store

Json = Any
RUNS_LOOKED_AT = 20


@dataclass(frozen=True)
class Explanation:
    """Why a stage has its action. `chain` leads through the inputs to the stages where the change began.

    `is_of_another` says that a stage of another name is compared with, as none of this one's was recorded.
    """

    stage: Stage
    action: str
    reason: str
    changed: Sequence[Change] = ()
    chain: Sequence[tuple[str, Change]] = ()
    compared_with: str | None = None
    is_of_another: bool = False

    def to_json(self) -> dict[str, Json]:
        return {
            "stage": self.stage.name,
            "action": self.action,
            "reason": self.reason,
            "changed": [change.to_json() for change in self.changed],
            "chain": [{"stage": name, **change.to_json()} for name, change in self.chain],
            "compared_with": self.compared_with,
        }


@dataclass
class Explainer:
    """Explains the stages of one plan."""

    workflow: Workflow
    planned: Mapping[str, PlannedStage]
    store: Store
    settings: Settings
    _known: dict[str, Explanation] = field(default_factory=dict)

    def explain(self, id: str) -> Explanation:
        """Why a stage would run, or that it would not."""
        if id not in self._known:
            self._known[id] = self._explain(self.planned[id])
        return self._known[id]

    def _explain(self, planned: PlannedStage) -> Explanation:
        stage = planned.stage
        if planned.action != "run":
            return Explanation(stage, planned.action, planned.reason)
        now = self._account(planned)
        before, source = self._baseline(stage, now)
        if before is None:
            return Explanation(stage, "run", source)
        changed = [*differences(before, now, self._outline(stage)), *self._waiting(planned, before)]
        if not changed:
            return Explanation(stage, "run", self._unchanged(planned), compared_with=source)
        chain = self._chain(stage, changed[0])
        return Explanation(stage, "run", str(changed[0]), changed, chain, source, before.name != stage.name)

    def _unchanged(self, planned: PlannedStage) -> str:
        """Why a stage would run that has the settings and inputs of the recorded one."""
        if planned.key is None:
            return planned.reason
        if self._accounts.of_key(planned.key) is not None:
            return "its result is no longer in the store"
        return "the order of its models or weights is another"

    def _account(self, planned: PlannedStage) -> Account:
        stage = planned.stage
        if stage.kind == "load":
            hashes = [planned.identity.fingerprint if planned.identity else None]
        else:
            hashes = output_hashes(stage.inputs, self.planned)
        own = self.settings.of(stage.id)
        return Account.of(stage, self.workflow, hashes, own.backend, own.numerics.text)

    def _waiting(self, planned: PlannedStage, before: Account) -> list[Change]:
        """The inputs that are made by stages that would run themselves."""
        found = {}
        for index, (role, ref) in enumerate(zip(wording.input_roles(planned.stage), planned.stage.inputs, strict=True)):
            maker = self.planned[ref.stage]
            if maker.is_settled or ref.stage in found:
                continue
            old = before.inputs[index][3] if index < len(before.inputs) else None
            path = input_path([role, maker.stage.name, ref.port, None])
            found[ref.stage] = Change("input", path, content_text(old), f"{maker.stage.name} would run")
        return list(found.values())

    def _chain(self, stage: Stage, first: Change) -> list[tuple[str, Change]]:
        """Where a change of an input comes from."""
        if first.what != "input" or stage.kind == "load":
            return []
        for ref in stage.inputs:
            maker = self.planned[ref.stage]
            if maker.action == "run" and first.after == f"{maker.stage.name} would run":
                found = self.explain(ref.stage)
                return [(maker.stage.name, found.changed[0]), *found.chain] if found.changed else []
        return []

    def _baseline(self, stage: Stage, now: Account) -> tuple[Account | None, str]:
        """The recorded stage to compare with and what it is: of the runs of this recipe the one in which fewest things
        were otherwise, of equal ones the latest. Without one the reason."""
        recorded_without = False
        nearest: tuple[int, Account, str] | None = None
        for run in self._runs:
            key = _keys(run).get(stage.name)
            if key is not None:
                account = self._accounts.of_key(key)
                if account is not None and account.kind == stage.kind:
                    distance = len(differences(account, now, self._outline(stage)))
                    if nearest is None or distance < nearest[0]:
                        nearest = distance, account, f"{stage.name} in run {run.id}"
                recorded_without |= account is None
        if nearest is not None:
            return nearest[1], nearest[2]
        account = self._accounts.of_name(stage.name, stage.kind, self.workflow.recipe)
        if account is not None:
            return account, f"{stage.name} as it was last executed"
        account = max(self._accounts.of_kind(stage.kind), key=lambda each: _likeness(each, now), default=None)
        if account is not None and not recorded_without:
            return account, f"{account.name}, the most similar {stage.kind}"
        if recorded_without:
            return None, "it was recorded by a version that did not keep what stages do: nothing to compare with"
        return None, f"nothing like it was done before: the store has no {stage.kind}"

    @property
    def last_run(self) -> Run | None:
        """The latest run of the recipe that came to its end."""
        return next(iter(self._runs), None)

    @cached_property
    def _accounts(self) -> Accounts:
        return Accounts(self.store.root)

    @cached_property
    def _runs(self) -> list[Run]:
        """The latest runs of this recipe; of a recipe of the same file name where it has been moved."""
        runs = [run for run in list_runs(self.store) if run.manifest][:RUNS_LOOKED_AT]
        name = PurePath(self.workflow.recipe).name
        own = [run for run in runs if _recipe(run) == self.workflow.recipe]
        return own or [run for run in runs if PurePath(_recipe(run)).name == name]

    def _outline(self, stage: Stage) -> Any:
        own = {program["digest"]: program for program in wording.programs_of(stage)}

        def outline(digest: str) -> Sequence[str] | None:
            return wording.outline(own[digest]) if digest in own else self._accounts.outline(digest)

        return outline


def _recipe(run: Run) -> str:
    return str((run.manifest or {}).get("recipe", ""))


def _keys(run: Run) -> dict[str, str | None]:
    return {stage["name"]: stage.get("key") for stage in (run.manifest or {}).get("stages", ())}


def _likeness(account: Account, other: Account) -> int:
    """How much two stages have in common: settings that are equal, inputs of the same content."""
    settings = sum(1 for path, value in account.settings.items() if other.settings.get(path) == value)
    inputs = {given[3] for given in account.inputs} & {given[3] for given in other.inputs} - {None}
    return settings + 2 * len(inputs) + 3 * (account.name == other.name)
