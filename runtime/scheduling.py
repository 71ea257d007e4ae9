"""In which order stages are taken up: what is settled makes others arrive, and the most urgent is started first."""

from __future__ import annotations

import heapq
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator

from etude.compiler.workflow import Stage, Workflow
from etude.runtime.gpus import visible_gpus
from etude.runtime.planning import predecessors, urgencies

JOBS_ON_A_GPU = 4  # a TPU belongs to one process


def most_trainings(workflow: Workflow, wanted: Collection[str]) -> int:
    """How many trainings can run side by side: the most that have as many trainings before them."""
    before: dict[str, int] = {}
    sizes: Counter[int] = Counter()
    for id, stage in workflow.stages.items():
        if id in wanted:
            known = (before[other] for other in predecessors(stage) if other in before)
            number = max(known, default=0)
            is_training = stage.kind == "train"
            sizes[number] += is_training
            before[id] = number + is_training
    return max(sizes.values(), default=0)


def default_jobs(device: str, cores: int) -> int:
    """How many stages run side by side where nobody says."""
    on_device = {"cpu": cores, "tpu": 1}.get(device, JOBS_ON_A_GPU * max(1, len(visible_gpus())))
    return min(cores, on_device)


def thread_share(cores: int, processes: int) -> int:
    """The threads of each of some processes that compute side by side; OMP_NUM_THREADS may ask for fewer."""
    asked, share = os.environ.get("OMP_NUM_THREADS", ""), cores // max(1, processes)
    return max(1, min(share, int(asked)) if asked.isdigit() else share)


class Schedule:
    """The stages of a run that have no result yet. Every operation takes a moment, however many stages there are.

    A stage arrives when all before it are settled. It may then be queued until there is room, held until an equal one
    that is running has ended, or delayed for a while.
    """

    def __init__(
        self, workflow: Workflow, wanted: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.workflow, self._clock = workflow, clock
        self._missing = {id: len(predecessors(workflow.stages[id])) for id in workflow.stages if id in wanted}
        self._consumers = workflow.consumers()
        self._urgency = urgencies(workflow)
        self._order = {id: position for position, id in enumerate(workflow.stages)}
        self._arrived: deque[str] = deque(id for id, count in self._missing.items() if count == 0)
        self._queue: list[tuple[int, int, str]] = []
        self._held: dict[str, list[str]] = {}
        self._delayed: dict[str, float] = {}
        self._gone: set[str] = set()

    def arrivals(self) -> Iterator[Stage]:
        """The stages that have arrived and those that arrive meanwhile, each once."""
        now = self._clock()
        for id in [id for id, until in self._delayed.items() if until <= now]:
            del self._delayed[id]
            self._arrived.append(id)
        while self._arrived:
            id = self._arrived.popleft()
            if id not in self._gone:
                yield self.workflow.stages[id]

    def queue(self, stage: Stage) -> None:
        """Keep a stage that could be started until there is room."""
        heapq.heappush(self._queue, (-self._urgency[stage.id], self._order[stage.id], stage.id))

    def next(self) -> Stage | None:
        """Take the most urgent stage from the queue."""
        return self.workflow.stages[heapq.heappop(self._queue)[2]] if self._queue else None

    def hold(self, stage: Stage, key: str) -> None:
        """Let a stage wait for the end of another with the same key."""
        self._held.setdefault(key, []).append(stage.id)

    def release(self, key: str) -> None:
        """A stage with this key has ended: those that waited for it arrive again."""
        self._arrived += self._held.pop(key, [])

    def delay(self, stage: Stage, seconds: float) -> None:
        """Let a stage arrive again after some time."""
        self._delayed[stage.id] = self._clock() + seconds

    def settle(self, stage: Stage) -> None:
        """A stage has its result: what waited only for it arrives."""
        for consumer in self.consumers(stage):
            self._missing[consumer.id] -= 1
            if self._missing[consumer.id] == 0:
                self._arrived.append(consumer.id)

    def abandon(self, stage: Stage) -> list[Stage]:
        """A stage has failed: nothing that depends on it will arrive. The result is all of that, in order."""
        lost: dict[str, Stage] = {}
        stack = [stage]
        while stack:
            for consumer in self.consumers(stack.pop()):
                if consumer.id not in self._gone:
                    self._gone.add(consumer.id)
                    lost[consumer.id] = consumer
                    stack.append(consumer)
        return sorted(lost.values(), key=lambda each: self._order[each.id])

    def consumers(self, stage: Stage) -> list[Stage]:
        """Each stage of the run that uses an output of this one, once."""
        return [self.workflow.stages[id] for id in dict.fromkeys(self._consumers[stage.id]) if id in self._missing]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is waiting but for stages that are running."""
        return not (self._arrived or self._queue or self._delayed)
