"""Whether two backends agree on a recipe: every stage that uses one is run on both, from the same input artifacts.

The inputs come from a run on the first backend, so a difference in one stage is not carried into the next.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from etude.compiler.keys import uses_backend
from etude.compiler.workflow import Stage, Workflow
from etude.runtime.events import Event, Listener
from etude.runtime.events import Kind as EventKind
from etude.runtime.executors.local import LocalExecutor
from etude.runtime.planning import LEFT_OUT
from etude.runtime.processors import available_cores
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.stages import Settings
from etude.runtime.store import Store

Json = Any
STEPS = 10


@dataclass(frozen=True, slots=True)
class StageParity:
    """One stage on both backends. `detail` is what was compared; `failure` says why it could not be."""

    id: str
    name: str
    kind: str
    agrees: bool
    detail: Mapping[str, Json]
    failure: str | None = None

    def to_json(self) -> dict[str, Json]:
        differences = {"loss_difference": None, "weights_difference": None}
        data = {"id": self.id, "name": self.name, "kind": self.kind, **differences, **self.detail}
        return {**data, "agrees": self.agrees, **({"failure": self.failure} if self.failure else {})}


@dataclass(frozen=True, slots=True)
class ParityResult:
    """What `etude parity` found."""

    backends: tuple[str, str]
    steps: int
    stages: list[StageParity]
    run: RunResult

    @property
    def agrees(self) -> bool:
        return all(stage.agrees for stage in self.stages)

    def to_json(self) -> dict[str, Json]:
        return {
            "backends": list(self.backends),
            "steps": self.steps,
            "agrees": self.agrees,
            "stages": [stage.to_json() for stage in self.stages],
            "run": self.run.id,
        }


def check_parity(
    workflow: Workflow,
    *,
    store: Store,
    base: Path,
    backends: tuple[str, str] = ("torch", "jax"),
    steps: int = STEPS,
    jobs: int | None = None,
    only: Collection[str] | None = None,
    on_event: Listener | None = None,
    settings: Settings | None = None,
) -> ParityResult:
    """Run the workflow on the first backend, then the first steps of each stage on both.

    `only` are ids of stages; `settings` say on which device and in which precision. A stage whose inputs could not be
    made counts as not agreeing. Raises `StoreError`.
    """
    jobs = jobs or available_cores()
    threads = max(1, available_cores() // jobs)
    settings = replace(settings or Settings(backend=backends[0]), backend=backends[0], threads=threads)
    finished = run(
        workflow,
        store=store,
        base=base,
        **settings.chosen,
        jobs=jobs,
        only=only,
        on_event=on_event,
    )
    done = [id for id, result in finished.stages.items() if result.reason != LEFT_OUT]
    chosen = [workflow.stages[id] for id in done if only is None or id in only]
    stages = [stage for stage in chosen if uses_backend(stage) and stage.kind != "latency"]
    comparison = Comparison(finished, settings, backends, steps, base, on_event)
    with LocalExecutor(settings, max(1, min(jobs, len(stages))), finished.folder / "parity.log") as executor:
        found = comparison.run(executor, stages)
    return ParityResult(backends, steps, [found[stage.id] for stage in stages], finished)


@dataclass(frozen=True)
class Comparison:
    """The comparisons of one `etude parity`."""

    finished: RunResult
    settings: Settings
    backends: tuple[str, str]
    steps: int
    base: Path
    on_event: Listener | None

    def run(self, executor: LocalExecutor, stages: list[Stage]) -> dict[str, StageParity]:
        """Compare stages side by side."""
        waiting, running = list(enumerate(stages)), dict[int, Stage]()
        found: dict[str, StageParity] = {}
        began: dict[str, float] = {}
        while waiting or running:
            while waiting and executor.has_room():
                task, stage = waiting.pop(0)
                inputs = [self.finished.output(ref) for ref in stage.inputs]
                if None in inputs:
                    found[stage.id] = _failed(stage, "an input could not be made")
                    continue
                running[task], began[stage.id] = stage, time.monotonic()
                self._tell("stage-started", stage, {})
                executor.submit(task, self._request(stage, inputs))
            for message in executor.poll(0.2):
                if message.kind in {"done", "failed"}:
                    stage = running.pop(message.task)
                    found[stage.id] = self._found(stage, message.kind, message.data)
                    seconds = time.monotonic() - began[stage.id]
                    self._tell("stage-finished", stage, {**found[stage.id].to_json(), "seconds": seconds})
        return found

    def _request(self, stage: Stage, inputs: list[str | None]) -> dict[str, Json]:
        spec = {"kind": stage.kind, "stage": stage.spec, "backends": self.backends, "steps": self.steps}
        return {
            "kind": "parity",
            "spec": spec,
            "inputs": inputs,
            "settings": asdict(self.settings.of(stage.id)),
            "store": self.finished.store.settings(),
            "base": str(self.base),
            "folder": str(self.finished.folder),
            "fingerprint": None,
        }

    def _found(self, stage: Stage, kind: str, data: Mapping[str, Json]) -> StageParity:
        if kind == "failed":
            return _failed(stage, data["message"])
        detail = self.finished.store.read_json(data["outputs"]["comparison"])
        return StageParity(stage.id, stage.name, stage.kind, bool(detail["agrees"]), detail)

    def _tell(self, event: EventKind, stage: Stage, data: Mapping[str, Json]) -> None:
        if self.on_event is not None:
            self.on_event(Event(event, time.time(), stage.id, stage.name, data))


def _failed(stage: Stage, reason: str) -> StageParity:
    return StageParity(stage.id, stage.name, stage.kind, False, {}, reason)
