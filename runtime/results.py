"""What a run came to: stages, claims, metrics, models; as Python values and as the JSON of `run --json`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from etude.compiler.workflow import Ref, Stage, Workflow
from etude.runtime.naming import shown_names, shown_value
from etude.runtime.stages import Settings
from etude.runtime.store import Record, Store

Json = Any
StageAction: TypeAlias = Literal["run", "cached", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage of a run. `seconds` is the time it took when it was executed, in this run or an earlier one.

    `reason` says why a stage was skipped. `failure` has the message for people, also where a stage was skipped for
    another's failure; of a failed one the file with the details, too, and the last good checkpoint if there is one.
    `names` has what the recipe calls parts of the stage's values by what the store calls them.
    """

    id: str
    name: str
    kind: str
    action: StageAction
    seconds: float
    key: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, Json] = field(default_factory=dict)
    failure: Mapping[str, Json] | None = None
    reason: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(
        stage: Stage,
        action: str,
        key: str | None,
        record: Record | None,
        *,
        seconds: float = 0.0,
        failure: Mapping[str, Json] | None = None,
        reason: str | None = None,
    ) -> StageResult:
        return StageResult(
            id=stage.id,
            name=stage.name,
            kind=stage.kind,
            action=cast(StageAction, action),
            seconds=record.seconds if record else seconds,
            key=key,
            outputs=record.outputs if record else {},
            made=record.made if record else {},
            failure=failure,
            reason=reason,
            names=shown_names(stage),
        )

    def to_json(self) -> dict[str, Json]:
        names = ("id", "name", "kind", "action", "seconds", "key", "outputs", "made")
        data = {name: getattr(self, name) for name in names}
        extras = {"failure": self.failure, "reason": self.reason, "names": self.names or None}
        return data | {name: value for name, value in extras.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """One `expect`. `values` maps texts of the recipe to what they came to; `detail` says more of comparisons."""

    line: int
    text: str
    because: str | None
    verdict: str
    values: Mapping[str, Json]
    detail: Mapping[str, Json]

    def to_json(self) -> dict[str, Json]:
        return {name: getattr(self, name) for name in ("line", "text", "because", "verdict", "values", "detail")}


@dataclass(kw_only=True)
class RunResult:
    """A run that came to its end, with or without failures."""

    workflow: Workflow
    store: Store
    settings: Settings
    folder: Path
    stages: Mapping[str, StageResult]
    claims: list[ClaimResult]
    metrics: Mapping[str, Json]
    models: Mapping[str, Mapping[str, str]]
    started: float
    seconds: float
    target: str = "cpu"
    report: str | None = None

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def failed(self) -> list[StageResult]:
        return [stage for stage in self.stages.values() if stage.action == "failed"]

    def counts(self) -> dict[str, Json]:
        """How many stages were executed, cached, failed and skipped."""
        actions = [stage.action for stage in self.stages.values()]
        return {
            "executed": actions.count("run"),
            "cached": actions.count("cached"),
            "failed": actions.count("failed"),
            "skipped": actions.count("skipped"),
        }

    def output(self, ref: Ref) -> str | None:
        """The content hash of an output, None when its stage has none."""
        stage = self.stages.get(ref.stage)
        return stage.outputs.get(ref.port) if stage else None

    def value(self, ref: Ref) -> Json:
        """A JSON output (a metric, table, figure, history or verdict) with the recipe's names on its parts; None when
        its stage has failed or was skipped."""
        return stage_value(self.workflow, self.store, self.stages, ref)

    def to_json(self) -> dict[str, Json]:
        return {
            "run": self.id,
            "recipe": self.workflow.recipe,
            "backend": self.settings.backend,
            "target": self.target,
            "stages": [stage.to_json() for stage in self.stages.values()],
            **self.counts(),
            "claims": [claim.to_json() for claim in self.claims],
            "metrics": dict(self.metrics),
            "models": {name: dict(model) for name, model in self.models.items()},
            "params": self.workflow.params,
            "seed": self.workflow.seed,
            "folder": str(self.folder),
            "report": self.report,
            "started": self.started,
            "seconds": self.seconds,
        }


def collect_result(
    workflow: Workflow,
    store: Store,
    settings: Settings,
    folder: Path,
    stages: Mapping[str, StageResult],
    models: Mapping[str, Mapping[str, str]],
    started: float,
) -> RunResult:
    """Read the claims and metrics of a run whose stages are done."""
    ordered = {id: stages[id] for id in workflow.stages if id in stages}
    return RunResult(
        workflow=workflow,
        store=store,
        settings=settings,
        folder=folder,
        stages=ordered,
        claims=collect_claims(workflow, store, ordered),
        metrics={name: stage_value(workflow, store, ordered, ref) for name, ref in workflow.metrics.items()},
        models=models,
        started=started,
        seconds=round(time.time() - started, 3),
        target=settings.device,
    )


def collect_claims(workflow: Workflow, store: Store, stages: Mapping[str, StageResult]) -> list[ClaimResult]:
    """The verdicts; a claim whose stages failed cannot tell."""
    claims = []
    for claim in workflow.claims:
        verdict = stage_value(workflow, store, stages, Ref(claim.stage, "verdict"))
        if verdict is None:
            verdict = {"verdict": "cannot tell", "values": {}, "detail": {"message": _missing(stages.get(claim.stage))}}
        claims.append(ClaimResult(claim.line, claim.text, claim.because, **verdict))
    return claims


def _missing(stage: StageResult | None) -> str:
    """Why a stage has no output."""
    if stage is None:
        return "it was not asked for"
    return stage.reason or str((stage.failure or {}).get("message"))


def stage_value(workflow: Workflow, store: Store, stages: Mapping[str, StageResult], ref: Ref) -> Json:
    """The JSON output of a stage, None when it has none."""
    result = stages.get(ref.stage)
    if result is None or ref.port not in result.outputs:
        return None
    stage = workflow.stages[ref.stage]
    return shown_value(stage, store.read_json(result.outputs[ref.port]))
