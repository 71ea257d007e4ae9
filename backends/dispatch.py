"""How many steps a training hands to its framework at once: several, where a timing says that this is faster.

The same numbers come out to the last bit, which the timing checks as well: it is no part of what a result is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from etude.backends.batches import Index, by_stream
from etude.backends.feeding import Batch
from etude.backends.timetable import Clock, Timetable

MOST = 64
LEAST = 4
WARM_STEPS = 2
TIMED_STEPS = 3
SMALL_SECONDS = 2e-3  # a step that takes longer gains nothing
WORTH_SECONDS = 2.0  # of what is left; a program of several steps takes about one to compile


class Work(NamedTuple):
    """What several steps are given: the rows of all of them in one piece, and a key, rates and a clock for each."""

    rows: Index | Batch
    keys: Sequence[int]
    rates: Sequence[Sequence[float | None]]
    clocks: Sequence[Clock]

    def part(self, number: int) -> Work:
        """The work of one of the steps."""
        only = slice(number, number + 1)
        return Work(self._rows(number), self.keys[only], self.rates[only], self.clocks[only])

    def _rows(self, number: int) -> Index | Batch:
        steps = len(self.keys)
        if isinstance(self.rows, Batch):
            rows = self.rows.rows
            size = (next(iter(rows.values())) if isinstance(rows, Mapping) else rows) // steps
            return self.rows.part(number * size, (number + 1) * size)
        return by_stream(lambda rows: rows.reshape(steps, -1)[number], self.rows)


class Chunks(Protocol):
    """Several steps of a session at once."""

    def run(self, work: Work) -> None:
        """Start all of the steps."""
        ...

    def is_better(self, work: Work) -> bool:
        """Whether that is faster than one after the other and comes to the same bits; what was measured before on such
        a machine is believed. The session is left as it was."""
        ...


@dataclass
class Dispatch:
    """Decides after the first steps of a run, whose times say whether it is worth to try.

    `can` tells whether a framework can do several steps of this stage at once at all; `wait` waits until all steps so
    far are done, and `is_better` tries it with so many.
    """

    timetable: Timetable
    last: int
    can: bool
    wait: Callable[[], None]
    is_better: Callable[[int], bool]
    size: int = 1
    _seen: int = 0
    _started: float = 0.0
    _mark: int = 0

    def steps(self, done: int) -> int:
        """How many steps to do next: as many as were found best, or one where something is due before their end."""
        if self.can and self._seen <= WARM_STEPS + TIMED_STEPS:
            self._look(done)
        if self.size == 1:
            return 1
        if done >= self._mark:
            self._mark = self.timetable.next_mark(done)
        return self.size if done + self.size <= min(self._mark, self.last) else 1

    def _look(self, done: int) -> None:
        if self._seen == WARM_STEPS:
            self.wait()
            self._started = time.perf_counter()
        elif self._seen == WARM_STEPS + TIMED_STEPS:
            self.wait()
            self._decide(done, (time.perf_counter() - self._started) / TIMED_STEPS)
        self._seen += 1

    def _decide(self, done: int, seconds: float) -> None:
        """Try as many as there are between two marks, if what is left takes long enough for it to matter."""
        size = min(MOST, self.timetable.shortest_period())
        is_small = seconds < SMALL_SECONDS and size >= LEAST
        if is_small and (self.last - done) * seconds > WORTH_SECONDS and self.is_better(size):
            self.size = size
