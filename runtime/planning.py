"""What a run would do: which stages the store already knows, and why the others have to run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from etude.compiler.keys import stage_key
from etude.compiler.workflow import Ref, Stage, Workflow
from etude.runtime.checkpoints import kept_steps
from etude.runtime.naming import find_record
from etude.runtime.sources import SourceError, find
from etude.runtime.stages import LENIENT, Settings
from etude.runtime.store import LostObject, Record, Store
from etude.runtime.timed import computer, is_timed

Json = Any
Action: TypeAlias = Literal["run", "cached", "merged", "dropped"]
LEFT_OUT = "its condition does not hold"
BEGUN = "begun before"
UNNEEDED = "no claim, report, number or model needs it"


@dataclass(frozen=True, slots=True)
class Identity:
    """A stage's key, and for a `load` the fingerprint of its source."""

    key: str
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """What will happen to a stage. `identity` is None while an input is not made yet."""

    stage: Stage
    action: Action
    reason: str
    identity: Identity | None = None
    record: Record | None = None

    @property
    def key(self) -> str | None:
        return self.identity.key if self.identity else None

    @property
    def is_settled(self) -> bool:
        """Whether it is known what the stage makes, or that it makes nothing."""
        return self.record is not None or self.action == "dropped"


def identify(stage: Stage, inputs: Sequence[str | None], store: Store, settings: Settings, base: Path) -> Identity:
    """The key of a stage whose inputs are known by content. Raises `SourceError` when a source is not there."""
    fingerprint = source_fingerprint(stage, store, base) if stage.kind == "load" else None
    hashes = inputs if fingerprint is None else [fingerprint]
    own = settings.of(stage.id)
    where = computer() if is_timed(stage) else None
    return Identity(stage_key(stage, hashes, own.backend, own.numerics.text, where), fingerprint)


def source_fingerprint(stage: Stage, store: Store, base: Path) -> str:
    """What a `load` will find, without reading what has not changed."""
    uri, options = stage.spec["uri"], stage.spec.get("options") or {}
    return find(uri).fingerprint(uri, options, base, store.hash_file)


def plan_stages(
    workflow: Workflow, store: Store, settings: Settings, base: Path, wanted: Collection[str] | None = None
) -> dict[str, PlannedStage]:
    """Probe the store for every stage, in topological order; nothing is run and nothing heavy imported.

    What is not `wanted` (by default: not needed by what the recipe is after) is dropped.
    """
    planned: dict[str, PlannedStage] = {}
    first_with: dict[str, str] = {}
    wanted = wanted_stages(workflow) if wanted is None else wanted
    for stage in workflow.stages.values():
        if stage.id in wanted:
            planned[stage.id] = _plan_stage(stage, planned, first_with, store, settings, base)
        else:
            planned[stage.id] = PlannedStage(stage, "dropped", UNNEEDED)
    return planned


def _plan_stage(
    stage: Stage,
    planned: dict[str, PlannedStage],
    first_with: dict[str, str],
    store: Store,
    settings: Settings,
    base: Path,
) -> PlannedStage:
    waits_for = [each for each in predecessors(stage) if not planned[each].is_settled]
    if waits_for:
        undecided = {ref.stage for ref in stage.guards} & set(waits_for)
        names = dict.fromkeys(planned[each].stage.name for each in waits_for if not undecided or each in undecided)
        return PlannedStage(stage, "run", f"may run: {listed(names)} says" if undecided else f"after {listed(names)}")
    guards, inputs = output_hashes(stage.guards, planned), output_hashes(stage.inputs, planned)
    try:
        if is_off(stage, guards, inputs, store):
            return PlannedStage(stage, "dropped", LEFT_OUT)
        identity = identify(stage, inputs, store, settings, base)
    except SourceError as error:
        return PlannedStage(stage, "run", f"its source cannot be read: {error}")
    except LostObject:
        return PlannedStage(stage, "run", "what decides about it is damaged and has to be made anew")
    record = find_record(store, stage, identity.key)
    if record is not None:
        return PlannedStage(stage, "cached", "done before", identity, record)
    twin = first_with.setdefault(identity.key, stage.name)
    if twin != stage.name:
        return PlannedStage(stage, "merged", f"the same as {twin}", identity)
    return PlannedStage(stage, "run", _unfinished(stage, store, identity.key), identity)


def _unfinished(stage: Stage, store: Store, key: str) -> str:
    steps = kept_steps(store, key) if stage.kind == "train" else []
    return f"{BEGUN}, goes on from step {steps[0]}" if steps else "not done before with these inputs"


def predecessors(stage: Stage) -> list[str]:
    """The stages that must be settled before this one can be, each once."""
    return list(dict.fromkeys(ref.stage for ref in (*stage.inputs, *stage.guards)))


def output_hashes(refs: Iterable[Ref], planned: Mapping[str, PlannedStage]) -> list[str | None]:
    """The content hashes of outputs of settled stages; None for what a condition left unmade."""
    records = [(planned[ref.stage].record, ref.port) for ref in refs]
    return [None if record is None else record.outputs[port] for record, port in records]


def is_off(stage: Stage, guards: Sequence[str | None], inputs: Sequence[str | None], store: Store) -> bool:
    """Whether a stage is not run at all: no condition around it holds, or it needs what such a stage would make."""
    if stage.guards and not any(hash is not None and store.read_json(hash) is True for hash in guards):
        return True
    return None in inputs and stage.kind not in LENIENT


def wanted_stages(workflow: Workflow) -> set[str]:
    """The ids of the stages that a run makes: what the recipe is after, and all that leads to it."""
    return needed_stages(workflow, workflow.ends) if workflow.ends else set(workflow.stages)


def needed_stages(workflow: Workflow, wanted: Iterable[str]) -> set[str]:
    """The ids of stages and of all that they need."""
    needed: set[str] = set()
    stack = list(wanted)
    while stack:
        stage = stack.pop()
        if stage not in needed:
            needed.add(stage)
            stack += predecessors(workflow.stages[stage])
    return needed


def urgencies(workflow: Workflow) -> dict[str, int]:
    """How much work waits behind each stage: what is on the longest way to the end is started first."""
    weights = {"train": 100, "map": 10, "measure": 10}
    consumers = workflow.consumers()
    result: dict[str, int] = {}
    for stage in reversed(workflow.stages.values()):
        behind = max((result[each] for each in consumers[stage.id]), default=0)
        result[stage.id] = behind + weights.get(stage.kind, 1)
    return result


def listed(names: Iterable[str]) -> str:
    """Some names for a sentence: at most three, and how many more.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
