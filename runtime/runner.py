"""Run a workflow: key each stage as its inputs become known, execute what the store does not know, side by side.

Nothing heavy is imported here. A run that finds everything in the store starts no worker and ends in a moment.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.backends.numerics import Precision, Random
from etude.compiler.keys import uses_backend
from etude.compiler.workflow import Ref, Stage, Workflow
from etude.runtime.checkpoints import remove_partial
from etude.runtime.events import TOLD, EventLog, Listener
from etude.runtime.executors import Executor, Message
from etude.runtime.export import export_models, place_file
from etude.runtime.expressions import ExpressionError
from etude.runtime.naming import find_record, shown_names, write_record
from etude.runtime.planning import (
    LEFT_OUT,
    Identity,
    identify,
    is_off,
    needed_stages,
    plan_stages,
    wanted_stages,
)
from etude.runtime.processors import available_cores
from etude.runtime.results import RunResult, StageResult, collect_result
from etude.runtime.runs import break_off, create_folder, file_names, finish, keep_error, remove_if_empty, write_plan
from etude.runtime.scheduling import Schedule, default_jobs, most_trainings, thread_share
from etude.runtime.setbacks import Interruption, Losses, Retries
from etude.runtime.sources import SourceError
from etude.runtime.stages import INLINE, Job, Settings, StageError, execute
from etude.runtime.store import Leases, LostObject, Record, Store, StoreError
from etude.runtime.store.files import make_folder, replace_file

if TYPE_CHECKING:
    from etude.runtime.accounts import Accounts

Json = Any
POLL_SECONDS = 0.2
LEASE_SECONDS = 1.0


def run(
    workflow: Workflow,
    *,
    store: Store,
    backend: str,
    base: Path,
    device: str = "cpu",
    precision: Precision = "float32",
    random: Random = "portable",
    compile: bool = False,
    mesh: Mapping[str, int] | None = None,
    by_stage: Mapping[str, Mapping[str, Json]] | None = None,
    jobs: int | None = None,
    only: Collection[str] | None = None,
    without: Collection[str] = (),
    recipe_text: str | None = None,
    about: Mapping[str, Json] | None = None,
    retries: int = 0,
    on_event: Listener | None = None,
) -> RunResult:
    """Run every stage that is not in the store yet, and judge the claims.

    `base` is the folder that relative file names in the recipe start from; `jobs` how many stages run side by side
    (default: one per core, four on each GPU, one on a TPU), where trainings that can do so share the cores; `only`
    the ids of the stages that are wanted, with all that they need; `without` the passes that are left out; `retries`
    how often a stage is tried again whose worker died or that had too little memory. A stage that fails takes with it
    only what depends on it. An object that turns out to be damaged is made anew. Raises `StoreError`, and
    `KeyboardInterrupt` with everything finished so far recorded.
    """
    cores = available_cores()
    jobs = jobs or default_jobs(device, cores)
    wanted = wanted_stages(workflow) if only is None else needed_stages(workflow, only)
    settings = Settings(
        backend=backend,
        device=device,
        precision=precision,
        random=random,
        compile=compile,
        mesh=mesh,
        threads=thread_share(cores, min(jobs, most_trainings(workflow, wanted))),
        stages=by_stage or {},
        without=sorted(without),
    )
    folder = create_folder(store)
    store.sweep()
    started = time.time()
    with EventLog(folder / "events.jsonl", on_event) as events, store.leases() as leases:
        runner = Runner(workflow, store, settings, base, folder, events, leases, jobs, wanted, Retries(retries))
        try:
            if recipe_text is not None:
                replace_file(folder / "recipe.etude", recipe_text.encode(), store.scratch)
            with runner.interruption.watching():
                runner.run()
                result = runner.conclude(started)
            finish(store, folder, {**result.to_json(), **(about or {}), "settings": asdict(settings)})
            events.add("run-finished", **result.counts(), seconds=result.seconds)
        except BaseException as error:
            with contextlib.suppress(StoreError):
                events.add("run-interrupted")
            break_off(folder, error)
            raise
        finally:
            runner.close()
    return result


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
    retries: Retries = field(default_factory=Retries)
    interruption: Interruption = field(default_factory=Interruption)
    results: dict[str, StageResult] = field(default_factory=dict)
    _losses: Losses = field(default_factory=Losses)
    _before: dict[str, StageResult] = field(default_factory=dict)
    _is_stopping: bool = False
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
        write_plan(self.store, self.folder, self.workflow.recipe, chosen)
        self._identities = {each.stage.id: each.identity for each in chosen if each.identity}
        self._found = {each.stage.id: each.record for each in chosen if each.record}
        self._to_run = [each.stage for each in chosen if each.action == "run"]
        self.events.add("run-started", run=self.folder.name, stages=len(chosen), folder=str(self.folder))
        self._settle_all()

    def conclude(self, started: float) -> RunResult:
        """Put the models in the run's folder and read what the run came to."""
        while True:
            try:
                outputs = {id: result.outputs for id, result in self.results.items() if result.outputs}
                models = export_models(self.store, self.workflow, outputs, self.folder / "models")
                settings, results = self.settings, self.results
                return collect_result(self.workflow, self.store, settings, self.folder, results, models, started)
            except LostObject as error:
                if not self._losses.add(error.hash):
                    raise
                self._start_over()
                self._settle_all()

    def _settle_all(self) -> None:
        """Work until every wanted stage has a result, also those that waited for an object to be made anew."""
        self._work()
        while self._losses.found and max(self._losses.found.values()) == self._losses.round:
            self._start_over()
            self._work()

    def _work(self) -> None:
        while self._running or not (self._is_stopping or self._schedule.is_idle):
            if self.interruption.is_asked and not self._is_stopping:
                self._stop()
            if not self._is_stopping:
                for stage in self._schedule.arrivals():
                    self._take_up(stage)
                self._fill_room()
            if self._executor is not None:
                for message in self._executor.poll(POLL_SECONDS):
                    self._handle(message)
            elif not self._schedule.is_idle:
                time.sleep(POLL_SECONDS)
        if self.interruption.is_asked:
            raise self.interruption.told()

    def _stop(self) -> None:
        """Start nothing more; what is running ends at its next step."""
        self._is_stopping = True
        self.events.add("run-stopping", running=[stage.name for stage in self._running.values()])
        if self._executor is not None:
            self._executor.stop()

    def close(self) -> None:
        """End the workers, and keep no empty folders."""
        if self._accounts is not None:
            self._accounts.flush()
        if self._executor is not None:
            self._executor.close()
        remove_if_empty(self.folder / "stages")

    def _take_up(self, stage: Stage) -> None:
        """Settle a stage that has arrived if it is known, left out, or done in a moment; else queue it."""
        if self._settle_again(stage):
            return
        try:
            if is_off(stage, self._hashes(stage.guards), self._hashes(stage.inputs), self.store):
                self._leave_out(stage)
                return
            identity = self._identity(stage)
        except LostObject as error:
            self._lose(stage, error.hash, str(error), {})
            return
        except (SourceError, StoreError) as error:
            self._fail(stage, str(error), {})
            return
        record = self._found.pop(stage.id, None) or find_record(self.store, stage, identity.key)
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
        while self._has_room():
            stage = self._schedule.next()
            if stage is None:
                return
            if (stage.id in self.retries.alone and self._running) or not self._has_room(self._devices(stage)):
                self._schedule.queue(stage)
                return
            identity = self._identities[stage.id]
            if self._is_running_as_twin(identity.key):
                self._schedule.hold(stage, identity.key)
            else:
                self._start(stage, identity)

    def _has_room(self, devices: int = 1) -> bool:
        """Whether another stage may be started on so many devices: not beside one that had too little memory before."""
        if any(stage.id in self.retries.alone for stage in self._running.values()):
            return False
        return self._executor is None or self._executor.has_room(devices)

    def _devices(self, stage: Stage) -> int:
        return self.settings.of(stage.id).devices if uses_backend(stage) else 1

    def _start(self, stage: Stage, identity: Identity) -> None:
        """Start a stage, unless another run is at it or has just finished it."""
        if not self.leases.take(identity.key):
            if stage.id not in self._waiting_elsewhere:
                self._waiting_elsewhere.add(stage.id)
                self.events.add("stage-waiting", stage.id, stage.name)
            self._schedule.delay(stage, LEASE_SECONDS)
            return
        record = find_record(self.store, stage, identity.key)
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
            sizes = self.store.sizes(result.all_objects())
        except LostObject as error:
            self._lose(stage, error.hash, str(error), {})
            return
        except (ExpressionError, StageError, StoreError) as error:
            self._give_up(stage, str(error), {"seconds": time.perf_counter() - started})
            return
        done = {"outputs": result.outputs, "objects": sizes, "made": result.made, "source": result.source}
        self._record(stage, {**done, "seconds": time.perf_counter() - started})

    def _submit(self, stage: Stage, identity: Identity) -> None:
        if self._executor is None:
            self._executor = self._open_executor()
        self._tasks += 1
        self._running[self._tasks] = stage
        folder = self._stage_folder(stage)
        make_folder(folder.parent, exist_ok=True)
        make_folder(folder, exist_ok=True)
        request = {
            "kind": stage.kind,
            "spec": stage.spec,
            "inputs": self._hashes(stage.inputs),
            "settings": asdict(self.settings.of(stage.id)),
            "store": self.store.settings(),
            "base": str(self.base),
            "folder": str(folder),
            "fingerprint": identity.fingerprint,
            "key": identity.key,
            "framework": uses_backend(stage),
            "devices": self._devices(stage),
        }
        self._executor.submit(self._tasks, request)

    def _open_executor(self) -> Executor:
        from etude.runtime.executors.local import LocalExecutor

        jobs = max(1, min(self.jobs, len(self._to_run)))
        warm = any(uses_backend(stage) for stage in self._to_run)
        return LocalExecutor(self.settings, jobs, self.folder / "workers.log", warm=warm)

    def _handle(self, message: Message) -> None:
        stage = self._running[message.task]
        if message.kind in TOLD:
            self.interruption.note(stage, message)
            self.events.add(TOLD[message.kind], stage.id, stage.name, **message.data)
            return
        del self._running[message.task]
        match message.kind:
            case "done":
                self._record(stage, message.data)
            case "failed":
                self._end_badly(stage, message.data["message"], message.data)
            case "stopped":
                self.events.add("stage-stopped", stage.id, stage.name, **self.interruption.stopped(stage, message.data))
                self._let_go(stage)

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
        record = write_record(self.store, stage, record)
        if stage.kind == "train":
            remove_partial(self.store, key)
        self._tell(stage)
        self.leases.release(key)
        remove_if_empty(self._stage_folder(stage))
        self._finish(stage, record, "run")
        self._schedule.release(key)

    def _tell(self, stage: Stage) -> None:
        """Keep what a stage did, for those who ask later what changed."""
        from etude.runtime.accounts import Account, Accounts

        if self._accounts is None:
            self._accounts = Accounts(self.store.root)
        identity = self._identities[stage.id]
        hashes = [identity.fingerprint] if stage.kind == "load" else self._hashes(stage.inputs)
        own = self.settings.of(stage.id)
        account = Account.of(stage, self.workflow, hashes, own.backend, own.numerics.text)
        self._accounts.add(identity.key, self.workflow.recipe, account, stage)

    def _end_badly(self, stage: Stage, message: str, report: Mapping[str, Json]) -> None:
        """Try a stage again that a worker could not finish, have made anew what it needs, or give it up."""
        if report.get("lost"):
            self._lose(stage, report["lost"], message, report)
        elif self.retries.another(stage, report):
            attempt = f"attempt {self.retries.used[stage.id] + 1} of {self.retries.most + 1}"
            self.events.add("stage-warning", stage.id, stage.name, message=f"{message.splitlines()[0]}; {attempt}")
            self._let_go(stage)
            self._schedule.queue(stage)
        else:
            self._give_up(stage, message, report)

    def _let_go(self, stage: Stage) -> None:
        """Leave a stage that is no longer executed to whoever comes next: here, or another run."""
        key = self._identities[stage.id].key
        self.leases.release(key)
        self._schedule.release(key)

    def _give_up(self, stage: Stage, message: str, report: Mapping[str, Json]) -> None:
        """Let go of a stage that failed while it was executed."""
        self._fail(stage, message, report)
        self._let_go(stage)

    def _lose(self, stage: Stage, hash: str, message: str, report: Mapping[str, Json]) -> None:
        """Let a stage wait for another round, before which all stages whose objects are lost are executed again."""
        if self.store.remote is not None:
            self.store.remote.refuse(hash)
        if self._losses.add(hash):
            notice = f"object {hash[:12]} is damaged or missing; what made it runs again"
            self.events.add("stage-warning", stage.id, stage.name, message=notice)
            self._schedule.abandon(stage)
        else:
            self._fail(stage, message, report)
        if stage.id in self._identities:
            self._let_go(stage)

    def _start_over(self) -> None:
        """Begin another round: results stand as far as their objects are there, and nothing that was lost is used."""
        self._losses.round += 1
        self._before, self.results = self.results, {}
        self._identities.clear()
        self._found.clear()
        self._schedule = Schedule(self.workflow, self.wanted)

    def _settle_again(self, stage: Stage) -> bool:
        """Give a stage the result that it had in the round before, if that stands."""
        before = self._before.pop(stage.id, None)
        if before is None:
            return False
        if before.action in ("run", "cached"):
            record = find_record(self.store, stage, self._identity(stage).key)
            if record is None or (record.key, record.outputs) != (before.key, before.outputs):
                return False
        self.results[stage.id] = before
        if before.action == "failed":
            self._skip_dependents(stage)
        else:
            self._schedule.settle(stage)
        return True

    def _finish(self, stage: Stage, record: Record, action: str) -> None:
        """Give a stage its result."""
        key, names = self._identities[stage.id].key, shown_names(stage)
        self.results[stage.id] = StageResult.of(stage, action, key, record)
        named = {"names": names} if names else {}
        try:
            if record.source is not None:
                place_file(self.store, record.source, self.folder / "source" / f"{self._files[stage.name]}.py")
            if action == "run":
                details = {"seconds": record.seconds, "outputs": record.outputs, "made": record.made, "key": key}
                self.events.add("stage-finished", stage.id, stage.name, **details, **named)
            else:
                self.events.add("stage-cached", stage.id, stage.name, outputs=record.outputs, key=key, **named)
        except LostObject as error:  # its own, which is shown or placed
            del self.results[stage.id]
            self._lose(stage, error.hash, str(error), {})
            return
        self._schedule.settle(stage)

    def _leave_out(self, stage: Stage) -> None:
        """Settle a stage without running it, because no condition around it holds."""
        self.results[stage.id] = StageResult.of(stage, "skipped", None, None, reason=LEFT_OUT)
        self.events.add("stage-skipped", stage.id, stage.name, because=LEFT_OUT)
        self._schedule.settle(stage)

    def _fail(self, stage: Stage, message: str, report: Mapping[str, Json]) -> None:
        """Note a failure with its details in a file, and skip all that depends on the stage."""
        text = f"stage {stage.name} ({stage.kind})\n{report.get('traceback') or message}\n"
        details = keep_error(self._stage_folder(stage), text)
        failure = {"message": message, "details": str(details), "checkpoint": report.get("checkpoint")}
        seconds = round(report.get("seconds", 0.0), 4)
        self.results[stage.id] = StageResult.of(stage, "failed", None, None, seconds=seconds, failure=failure)
        self.events.add("stage-failed", stage.id, stage.name, seconds=seconds, **failure)
        self._skip_dependents(stage)

    def _skip_dependents(self, stage: Stage) -> None:
        """Settle all that depends on a stage that failed."""
        because = f"needs {stage.name}, which failed"
        for lost in self._schedule.abandon(stage):
            failure = {"message": because}
            self.results[lost.id] = StageResult.of(lost, "skipped", None, None, failure=failure, reason=because)
            self.events.add("stage-skipped", lost.id, lost.name, because=because)

    def _stage_folder(self, stage: Stage) -> Path:
        return self.folder / "stages" / self._files[stage.name]
