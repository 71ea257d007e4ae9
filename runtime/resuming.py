"""Whether trainings survive a kill: each is run whole, and again in a process that is killed and one that goes on.

The inputs come from a run of the workflow as far as the trainings need it, so each is looked at by itself.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from etude.compiler.keys import canonical_json
from etude.compiler.workflow import Stage, Workflow
from etude.runtime.events import Event, Listener
from etude.runtime.events import Kind as EventKind
from etude.runtime.executors import Message
from etude.runtime.executors.local import LocalExecutor
from etude.runtime.planning import is_off
from etude.runtime.processors import available_cores
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.runs import file_names
from etude.runtime.stages import Settings
from etude.runtime.store import Store

Json = Any
STEPS = 12
PARTS = ("whole", "killed", "continued")
OWN = {"seed", "identity", "names", "columns", "structure"}  # what every training has for itself


@dataclass(frozen=True, slots=True)
class StageResumption:
    """One training on one backend. `difference` is the first one between the two ends, `failure` why there are none."""

    id: str
    name: str
    backend: str
    agrees: bool
    steps: int | None = None
    killed_after: int | None = None
    continued_at: int | None = None
    difference: str | None = None
    failure: str | None = None

    def to_json(self) -> dict[str, Json]:
        return asdict(self)


@dataclass
class Trial:
    """What is known of one training so far."""

    stage: Stage
    inputs: list[str | None]
    folder: Path
    part: int = 0
    steps: int = 0
    whole: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def kill_after(self) -> int:
        """A step near the end, and not one that has just been kept."""
        return max(1, self.steps - max(1, self.steps // 4))

    @property
    def every(self) -> int:
        return max(1, self.kill_after // 2)

    def spec(self) -> dict[str, Json]:
        spec = {"stage": self.stage.spec, "part": PARTS[self.part]}
        return spec | ({"every": self.every, "kill_after": self.kill_after, "whole": self.whole} if self.part else {})


def distinct(stages: Iterable[Stage]) -> list[Stage]:
    """Of trainings that differ in nothing but seeds and numbers, as the members of a sweep do, the first.

    One behind a condition stands only for others behind that condition.
    """
    found: dict[bytes, Stage] = {}
    for stage in stages:
        guards = [f"{ref.stage} {ref.port}" for ref in stage.guards]
        found.setdefault(canonical_json([guards, _kind_of(stage.spec)]), stage)
    return list(found.values())


def _kind_of(value: Json) -> Json:
    """A part of a spec without its numbers; a program is known by its digest."""
    if isinstance(value, Mapping):
        return (
            value["digest"] if "digest" in value else {name: _kind_of(value[name]) for name in value if name not in OWN}
        )
    if isinstance(value, list | tuple):
        return [_kind_of(each) for each in value]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else value


def verify_resumption(
    workflow: Workflow,
    *,
    store: Store,
    base: Path,
    settings: Settings,
    jobs: int | None = None,
    only: Collection[str] | None = None,
    on_event: Listener | None = None,
) -> list[StageResumption]:
    """Run what the trainings need, then each of them whole, killed, and continued.

    `only` are ids of stages, `settings` say on which backend and device. A training that a condition leaves out is left
    out here, too. Raises `StoreError`.
    """
    jobs = jobs or available_cores()
    chosen = [each for id, each in workflow.stages.items() if each.kind == "train" and (only is None or id in only)]
    needed = {ref.stage for stage in chosen for ref in (*stage.inputs, *stage.guards)}
    settings = replace(settings, threads=max(1, available_cores() // jobs))
    finished = run(
        workflow,
        store=store,
        base=base,
        **settings.chosen,
        jobs=jobs,
        only=needed,
        on_event=on_event,
    )
    trials = Trials(finished, settings, base, on_event)
    log = finished.folder / "resume.log"
    with LocalExecutor(settings, max(1, min(jobs, len(chosen))), log) as executor:
        found = trials.run(executor, chosen)
    shutil.rmtree(finished.folder / "resume", ignore_errors=True)
    return [found[stage.id] for stage in chosen if stage.id in found]


@dataclass(frozen=True)
class Trials:
    """The trainings of one `etude verify-resume` on one backend."""

    finished: RunResult
    settings: Settings
    base: Path
    on_event: Listener | None

    def run(self, executor: LocalExecutor, stages: list[Stage]) -> dict[str, StageResumption]:
        """Go through the parts of each training, several side by side."""
        waiting, running = self._trials(stages), dict[int, Trial]()
        found = {
            trial.stage.id: self._failed(trial, "an input could not be made") for trial in waiting if _lacks(trial)
        }
        waiting = [trial for trial in waiting if not _lacks(trial)]
        if self.on_event is not None:
            self.on_event(Event("run-started", time.time(), data={"stages": len(self.finished.stages) + len(waiting)}))
        task = 0
        while waiting or running:
            while waiting and executor.has_room(self.settings.of(waiting[0].stage.id).devices):
                task, trial = task + 1, waiting.pop(0)
                running[task] = trial
                if trial.part == 0:
                    self._tell("stage-started", trial, {})
                executor.submit(task, self._request(trial))
            for message in executor.poll(0.2):
                if message.kind in {"done", "failed"}:
                    trial = running.pop(message.task)
                    result = self._after(trial, message)
                    if result is None:
                        waiting.insert(0, trial)
                    else:
                        found[trial.stage.id] = result
                        self._tell("stage-finished", trial, {**result.to_json(), "seconds": trial.seconds})
        return found

    def _trials(self, stages: Iterable[Stage]) -> list[Trial]:
        folder, store = self.finished.folder / "resume", self.finished.store
        names = file_names(stage.name for stage in stages)
        trials = []
        for stage in stages:
            inputs = [self.finished.output(ref) for ref in stage.inputs]
            guards = [self.finished.output(ref) for ref in stage.guards]
            if not (stage.guards and is_off(stage, guards, [], store)):
                trials.append(Trial(stage, inputs, folder / names[stage.name]))
                trials[-1].folder.mkdir(parents=True)
        return trials

    def _request(self, trial: Trial) -> dict[str, Json]:
        return {
            "kind": "resume",
            "spec": trial.spec(),
            "inputs": trial.inputs,
            "settings": asdict(self.settings.of(trial.stage.id)),
            "devices": self.settings.of(trial.stage.id).devices,
            "store": self.finished.store.settings(),
            "base": str(self.base),
            "folder": str(trial.folder),
            "fingerprint": None,
        }

    def _after(self, trial: Trial, message: Message) -> StageResumption | None:
        """What a part came to; None where another one follows."""
        data = message.data
        part, was_killed = PARTS[trial.part], data.get("error") == "WorkerEnded"
        trial.part, trial.seconds = trial.part + 1, trial.seconds + data.get("seconds", 0.0)
        if message.kind == "failed" and not (part == "killed" and was_killed):
            return self._failed(trial, data["message"])
        if part == "whole":
            trial.whole, trial.steps = data["outputs"], data["made"]["steps"]
            if trial.steps < 2:
                return StageResumption(trial.stage.id, trial.stage.name, self.settings.backend, True, trial.steps)
            return None
        if part == "killed":
            return None
        comparison = self.finished.store.read_json(data["outputs"]["comparison"])
        about = (trial.stage.id, trial.stage.name, self.settings.backend, comparison.pop("agrees"))
        return StageResumption(*about, steps=trial.steps, killed_after=trial.kill_after, **comparison)

    def _failed(self, trial: Trial, reason: str) -> StageResumption:
        return StageResumption(trial.stage.id, trial.stage.name, self.settings.backend, False, failure=reason)

    def _tell(self, event: EventKind, trial: Trial, data: Mapping[str, Json]) -> None:
        if self.on_event is not None:
            self.on_event(Event(event, time.time(), trial.stage.id, trial.stage.name, data))


def _lacks(trial: Trial) -> bool:
    return None in trial.inputs
