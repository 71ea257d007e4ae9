"""Run a workflow: key each stage as its inputs become known, execute what the store does not know, side by side.

Nothing heavy is imported here. A run that finds everything in the store starts no worker and ends in a moment.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.compiler.keys import uses_backend
from etude.compiler.workflow import Ref, Stage, Workflow
from etude.runtime.events import EventLog, Listener
from etude.runtime.executors import Executor, Message
from etude.runtime.export import export_model, place_file
from etude.runtime.expressions import ExpressionError
from etude.runtime.planning import (
    Identity,
    PlannedStage,
    identify,
    is_off,
    needed_stages,
    plan_stages,
    wanted_stages,
)
from etude.runtime.results import RunResult, StageResult, collect_result
from etude.runtime.runs import abandon, create_folder, file_names, finish
from etude.runtime.scheduling import Schedule
from etude.runtime.sources import SourceError
from etude.runtime.stages import INLINE, Job, Settings, StageError, execute
from etude.runtime.store import Leases, Record, Store, StoreError

if TYPE_CHECKING:
    from etude.runtime.accounts import Accounts

Json = Any
POLL_SECONDS = 0.2
LEASE_SECONDS = 1.0
JOBS_ON_A_DEVICE = 4
LEFT_OUT = "the loop ended before this round"


def run(
    workflow: Workflow,
    *,
    store: Store,
    backend: str,
    base: Path,
    device: str = "cpu",
    precision: str = "float32",
    jobs: int | None = None,
    only: Collection[str] | None = None,
    recipe_text: str | None = None,
    about: Mapping[str, Json] | None = None,
    on_event: Listener | None = None,
) -> RunResult:
    """Run every stage that is not in the store yet, and judge the claims.

    `base` is the folder that relative file names in the recipe start from; `jobs` how many stages run side by side
    (default: one per processor core, four on an accelerator), which caps the threads of each; `only` the ids of the
    stages that are wanted, with all that they need. A stage that fails takes with it only what depends on it. Raises
    `StoreError`, and `KeyboardInterrupt` with everything finished so far recorded.
    """
    cores = available_cores()
    jobs = jobs or (cores if device == "cpu" else min(cores, JOBS_ON_A_DEVICE))
    settings = Settings(backend=backend, device=device, precision=precision, threads=max(1, cores // jobs))
    wanted = wanted_stages(workflow) if only is None else needed_stages(workflow, only)
    folder = create_folder(store)
    store.sweep()
    if recipe_text is not None:
        (folder / "recipe.etude").write_text(recipe_text, encoding="utf-8")
    started = time.time()
    with EventLog(folder / "events.jsonl", on_event) as events, store.leases() as leases:
        runner = Runner(workflow, store, settings, base, folder, events, leases, jobs, wanted)
        try:
            runner.run()
        except BaseException:
            events.add("run-interrupted")
            abandon(folder)
            raise
        finally:
            runner.close()
        models = runner.export_models()
        result = collect_result(workflow, store, settings, folder, runner.results, models, started)
        finish(store, folder, {**result.to_json(), **(about or {}), "settings": asdict(settings)})
        events.add("run-finished", **result.counts(), seconds=result.seconds)
    return result


def available_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Runner:
    """The state of one run."""

    workflow: Workflow
    store: Store
    settings: Settings
    base: Path
    folder: Path
    events: EventLog
    leases: Leases
    jobs: int
    wanted: set[str]
    results: dict[str, StageResult] = field(default_factory=dict)
    _identities: dict[str, Identity] = field(default_factory=dict)
    _running: dict[int, Stage] = field(default_factory=dict)
    _waiting_elsewhere: set[str] = field(default_factory=set)
    _executor: Executor | None = None
    _accounts: Accounts | None = None
    _tasks: int = 0

    def __post_init__(self) -> None:
        self._schedule = Schedule(self.workflow, self.wanted)
        self._files = file_names(self.workflow.stages[id].name for id in self.workflow.stages if id in self.wanted)

    def run(self) -> None:
        """Bring every wanted stage to a result."""
        planned = plan_stages(self.workflow, self.store, self.settings, self.base, self.wanted)
        chosen = [planned[id] for id in planned if id in self.wanted]
        self._write_plan(chosen)
        self._identities = {each.stage.id: each.identity for each in chosen if each.identity}
        self._to_run = [each.stage for each in chosen if each.action == "run"]
        self.events.add("run-started", run=self.folder.name, stages=len(chosen), folder=str(self.folder))
        while self._running or not self._schedule.is_idle:
            for stage in self._schedule.arrivals():
                self._take_up(stage)
            self._fill_room()
            if self._executor is not None:
                for message in self._executor.poll(POLL_SECONDS):
                    self._handle(message)
            elif not self._schedule.is_idle:
                time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """End the workers, and keep no empty folders."""
        if self._accounts is not None:
            self._accounts.flush()
        if self._executor is not None:
            self._executor.close()
        _remove_if_empty(self.folder / "stages")

    def export_models(self) -> dict[str, dict[str, str]]:
        """Write the models bound at the top level into the run's folder, as far as their stages are done."""
        outputs = {id: result.outputs for id, result in self.results.items() if result.outputs}
        exported = {}
        for binding in self.workflow.models:
            hash = export_model(self.store, binding, outputs)
            if hash is not None:
                path = self.folder / "models" / f"{file_names([binding.name])[binding.name]}.safetensors"
                place_file(self.store, hash, path)
                exported[binding.name] = {"hash": hash, "path": str(path)}
        return exported

    def _take_up(self, stage: Stage) -> None:
        """Settle a stage that has arrived if it is known, left out, or done in a moment; else queue it."""
        if is_off(stage, self._hashes(stage.guards), self._hashes(stage.inputs), self.store):
            self._leave_out(stage)
            return
        try:
            identity = self._identity(stage)
        except (SourceError, StoreError) as error:
            self._fail(stage, str(error), {})
            return
        record = self.store.record(identity.key)
        if record is not None:
            self._finish(stage, record, "cached")
        elif self._is_running_as_twin(identity.key):
            self._schedule.hold(stage, identity.key)
        elif stage.kind in INLINE:
            self._start(stage, identity)
        else:
            self._schedule.queue(stage)

    def _fill_room(self) -> None:
        """Hand out queued stages while workers are free."""
        while self._executor is None or self._executor.has_room():
            stage = self._schedule.next()
            if stage is None:
                return
            identity = self._identities[stage.id]
            if self._is_running_as_twin(identity.key):
                self._schedule.hold(stage, identity.key)
            else:
                self._start(stage, identity)

    def _start(self, stage: Stage, identity: Identity) -> None:
        """Start a stage, unless another run is at it or has just finished it."""
        if not self.leases.take(identity.key):
            if stage.id not in self._waiting_elsewhere:
                self._waiting_elsewhere.add(stage.id)
                self.events.add("stage-waiting", stage.id, stage.name)
            self._schedule.delay(stage, LEASE_SECONDS)
            return
        record = self.store.record(identity.key)
        if record is not None:
            self.leases.release(identity.key)
            self._finish(stage, record, "cached")
            return
        self.events.add("stage-started", stage.id, stage.name)
        if stage.kind in INLINE:
            self._execute_here(stage, identity)
        else:
            self._submit(stage, identity)

    def _identity(self, stage: Stage) -> Identity:
        if stage.id not in self._identities:
            inputs = self._hashes(stage.inputs)
            self._identities[stage.id] = identify(stage, inputs, self.store, self.settings, self.base)
        return self._identities[stage.id]

    def _hashes(self, refs: Iterable[Ref]) -> list[str | None]:
        """The content of outputs of stages that have a result; None for what a condition left unmade."""
        return [self.results[ref.stage].outputs.get(ref.port) for ref in refs]

    def _is_running_as_twin(self, key: str) -> bool:
        """Whether an equal stage of this workflow is being executed: its record will serve both."""
        return any(self._identities[stage.id].key == key for stage in self._running.values())

    def _execute_here(self, stage: Stage, identity: Identity) -> None:
        started = time.perf_counter()
        job = Job(
            store=self.store,
            kind=stage.kind,
            spec=stage.spec,
            inputs=self._hashes(stage.inputs),
            settings=self.settings,
            base=self.base,
            folder=self.folder,
        )
        try:
            result = execute(job)
        except (ExpressionError, StageError, StoreError) as error:
            self._give_up(stage, str(error), {"seconds": time.perf_counter() - started})
            return
        sizes = self.store.sizes(result.all_objects())
        done = {"outputs": result.outputs, "objects": sizes, "made": result.made, "source": result.source}
        self._record(stage, {**done, "seconds": time.perf_counter() - started})

    def _submit(self, stage: Stage, identity: Identity) -> None:
        if self._executor is None:
            self._executor = self._open_executor()
        self._tasks += 1
        self._running[self._tasks] = stage
        folder = self._stage_folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        request = {
            "kind": stage.kind,
            "spec": stage.spec,
            "inputs": self._hashes(stage.inputs),
            "settings": asdict(self.settings),
            "store": str(self.store.root),
            "base": str(self.base),
            "folder": str(folder),
            "fingerprint": identity.fingerprint,
        }
        self._executor.submit(self._tasks, request)

    def _open_executor(self) -> Executor:
        from etude.runtime.executors.local import LocalExecutor

        jobs = max(1, min(self.jobs, len(self._to_run)))
        warm = any(uses_backend(stage) for stage in self._to_run)
        return LocalExecutor(self.settings, jobs, self.folder / "workers.log", warm=warm)

    def _handle(self, message: Message) -> None:
        stage = self._running[message.task]
        match message.kind:
            case "progress":
                self.events.add("stage-progress", stage.id, stage.name, **message.data)
            case "warning":
                self.events.add("stage-warning", stage.id, stage.name, **message.data)
            case "done":
                del self._running[message.task]
                self._record(stage, message.data)
            case "failed":
                del self._running[message.task]
                self._give_up(stage, message.data["message"], message.data)

    def _record(self, stage: Stage, done: Mapping[str, Json]) -> None:
        """Write the record of a stage that was executed, and go on with what waited for it."""
        key = self._identities[stage.id].key
        record = Record(
            key=key,
            kind=stage.kind,
            outputs=done["outputs"],
            objects=done["objects"],
            seconds=round(done["seconds"], 4),
            created=time.time(),
            made=done["made"],
            source=done["source"],
        )
        record = self.store.records.write(record)
        self._tell(stage)
        self.leases.release(key)
        _remove_if_empty(self._stage_folder(stage))
        self._finish(stage, record, "run")
        self._schedule.release(key)

    def _tell(self, stage: Stage) -> None:
        """Keep what a stage did, for those who ask later what changed."""
        from etude.runtime.accounts import Account, Accounts

        if self._accounts is None:
            self._accounts = Accounts(self.store.root)
        identity = self._identities[stage.id]
        hashes = [identity.fingerprint] if stage.kind == "load" else self._hashes(stage.inputs)
        account = Account.of(stage, self.workflow, hashes, self.settings.backend, self.settings.precision)
        self._accounts.add(identity.key, self.workflow.recipe, account, stage)

    def _give_up(self, stage: Stage, message: str, report: Mapping[str, Json]) -> None:
        """Let go of a stage that failed while it was executed."""
        key = self._identities[stage.id].key
        self.leases.release(key)
        self._fail(stage, message, report)
        self._schedule.release(key)

    def _finish(self, stage: Stage, record: Record, action: str) -> None:
        """Give a stage its result."""
        self.results[stage.id] = StageResult.of(stage, action, self._identities[stage.id].key, record)
        if record.source is not None:
            place_file(self.store, record.source, self.folder / "source" / f"{self._files[stage.name]}.py")
        if action == "run":
            details = {"seconds": record.seconds, "outputs": record.outputs, "made": record.made}
            self.events.add("stage-finished", stage.id, stage.name, **details)
        else:
            self.events.add("stage-cached", stage.id, stage.name, outputs=record.outputs)
        self._schedule.settle(stage)

    def _leave_out(self, stage: Stage) -> None:
        """Settle a stage without running it, because no condition around it holds."""
        self.results[stage.id] = StageResult.of(stage, "skipped", None, None, reason=LEFT_OUT)
        self.events.add("stage-skipped", stage.id, stage.name, because=LEFT_OUT)
        self._schedule.settle(stage)

    def _fail(self, stage: Stage, message: str, report: Mapping[str, Json]) -> None:
        """Note a failure with its details in a file, and skip all that depends on the stage."""
        details = self._stage_folder(stage) / "error.txt"
        details.parent.mkdir(parents=True, exist_ok=True)
        details.write_text(f"stage {stage.name} ({stage.kind})\n{report.get('traceback') or message}\n")
        failure = {"message": message, "details": str(details), "checkpoint": report.get("checkpoint")}
        seconds = round(report.get("seconds", 0.0), 4)
        self.results[stage.id] = StageResult.of(stage, "failed", None, None, seconds=seconds, failure=failure)
        self.events.add("stage-failed", stage.id, stage.name, seconds=seconds, **failure)
        because = f"needs {stage.name}, which failed"
        for lost in self._schedule.abandon(stage):
            failure = {"message": because}
            self.results[lost.id] = StageResult.of(lost, "skipped", None, None, failure=failure, reason=because)
            self.events.add("stage-skipped", lost.id, lost.name, because=because)

    def _stage_folder(self, stage: Stage) -> Path:
        return self.folder / "stages" / self._files[stage.name]

    def _write_plan(self, planned: Iterable[PlannedStage]) -> None:
        """Keep what was going to happen, for those who ask later why."""
        stages = [
            {
                "id": each.stage.id,
                "name": each.stage.name,
                "kind": each.stage.kind,
                "action": each.action,
                "reason": each.reason,
                "key": each.key,
                "inputs": [ref.stage for ref in each.stage.inputs],
            }
            for each in planned
        ]
        (self.folder / "plan.json").write_text(json.dumps({"stages": stages}, indent=1), encoding="utf-8")


def _remove_if_empty(folder: Path) -> None:
    """Leave no folder behind for a stage that went well; its source is kept elsewhere."""
    if folder.is_dir():
        (folder / "step.py").unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
