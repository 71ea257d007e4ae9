"""When a train stage does what: its steps, learning rates, turns of players, ends of epochs and validations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from etude.backends.batches import batch_rows, steps_in
from etude.backends.randomness import stage_key
from etude.backends.schedules import Schedule, schedule

Json = Any
ENDLESS = 2**31 - 1
GRID = 1_000_000  # parts of a time for which a schedule is told apart


@dataclass(frozen=True)
class Period:
    """Something that happens each time that `rows / parts` rows have been seen."""

    rows: int
    parts: int = 1

    @classmethod
    def of(cls, every: Mapping[str, Json], rows: int, batch: int) -> Period:
        """The period of {"epochs": n}, {"steps": n} or {"examples": n} where an epoch has `rows` rows."""
        ((unit, amount),) = every.items()
        period = Fraction(str(amount)) * {"epochs": rows, "steps": batch, "examples": 1}[unit]
        return cls(period.numerator, period.denominator)

    def ends_at(self, seen: int, batch: int) -> bool:
        """Whether a period ends within the last `batch` of the `seen` rows."""
        return seen * self.parts // self.rows > (seen - batch) * self.parts // self.rows

    def next_end(self, done: int, batch: int) -> int:
        """The first step after `done` of them with which a period ends."""
        ended = done * batch * self.parts // self.rows
        return -(-(ended + 1) * self.rows // (self.parts * batch))


class Clock(NamedTuple):
    """The number of a step, and the share of the budget that is done before it."""

    step: int
    progress: float


@dataclass(frozen=True)
class Timetable:
    """What a train stage's spec comes to on `rows` rows: steps, rates, keys, and where it is looked at.

    `terms` has the columns of the history by what the emitted module calls them. A training that goes on from another
    one begins at the step `first`. Where the budget is a time, in `seconds`, there is no last step, and what depends on
    how far a training is takes the share of the time.
    """

    steps: int
    rows: int
    batch: int
    rates: tuple[float, ...]
    turns: tuple[int, ...]
    factor: Schedule
    key: int
    epochs: Period
    validation: Period | None
    terms: Mapping[str, str]
    first: int = 0
    seconds: float | None = None
    watching: Period | None = None
    checkpoints: tuple[int, ...] = ()

    @classmethod
    def of(cls, spec: Mapping[str, Json], rows: int, first: int = 0) -> Timetable:
        batch, valid, watch = batch_rows(spec["batch"], rows), spec["valid"], spec.get("watch")
        seconds = spec["budget"].get("seconds")
        steps = steps_in(spec["budget"], rows, batch) if seconds is None else ENDLESS
        return cls(
            steps=first + steps if seconds is None else ENDLESS,
            rows=rows,
            batch=batch,
            rates=tuple(player["optimizer"]["lr"] for player in spec["steps"]),
            turns=tuple(player.get("every", 1) for player in spec["steps"]),
            factor=schedule(spec["schedule"], steps if seconds is None else GRID, rows=rows, batch=batch),
            key=stage_key(spec),
            epochs=Period(rows),
            validation=Period.of(valid["every"], rows, batch) if valid else None,
            terms=dict(_term_names(spec["steps"])),
            first=first,
            seconds=seconds,
            watching=Period.of(watch["every"], rows, batch) if watch else None,
            checkpoints=_checkpoints(spec.get("checkpoints"), rows, batch, first, first + steps),
        )

    def scale(self, step: int, elapsed: float = 0.0) -> float:
        """The factor on learning rates at `step`; `elapsed` are the seconds spent so far."""
        if self.seconds is None:
            return self.factor(step - self.first)
        return self.factor(round(min(1.0, elapsed / self.seconds) * GRID))

    def step_rates(self, step: int, elapsed: float = 0.0) -> list[float | None]:
        """The learning rate of each player at `step`; None when it is not its turn."""
        factor = self.scale(step, elapsed)
        return [rate * factor if step % turn == 0 else None for rate, turn in zip(self.rates, self.turns, strict=True)]

    def clock(self, step: int, elapsed: float = 0.0) -> Clock:
        """What a loss may know about the time at `step`."""
        if self.seconds is None:
            return Clock(step, (step - self.first) / (self.steps - self.first))
        return Clock(step, min(1.0, elapsed / self.seconds))

    def epoch(self, done: int) -> float:
        """Epochs seen after `done` steps."""
        return round(done * self.batch / self.rows, 4)

    def next_mark(self, done: int) -> int:
        """The first step after `done` of them with which an epoch ends or a validation is due."""
        ends = [period.next_end(done, self.batch) for period in self._periods()]
        return min([*ends, *(step for step in self.checkpoints if step > done)])

    def shortest_period(self) -> int:
        """How many steps there are at least between two epochs' ends, or two validations."""
        return min(period.rows // (period.parts * self.batch) for period in self._periods())

    def _periods(self) -> list[Period]:
        return [period for period in (self.epochs, self.validation, self.watching) if period is not None]

    def is_epoch_end(self, done: int) -> bool:
        return self.epochs.ends_at(done * self.batch, self.batch)

    def is_validation(self, done: int) -> bool:
        """Whether the weights are validated after `done` steps; the last step is judged by the caller."""
        return self.validation is not None and self.validation.ends_at(done * self.batch, self.batch)

    def is_watched(self, done: int) -> bool:
        """Whether the probes look at the weights after `done` steps; the last step is judged by the caller."""
        return self.watching is not None and self.watching.ends_at(done * self.batch, self.batch)

    def is_checkpoint(self, done: int) -> bool:
        """Whether the weights after `done` steps are a result of the stage."""
        return done in self.checkpoints


def patience(spec: Mapping[str, Json], rows: int) -> int | None:
    """How many validations in a row may bring no improvement: as many as there are in a duration."""
    given: int | Mapping[str, Json] | None = spec.get("patience")
    if not isinstance(given, Mapping):
        return given
    batch = batch_rows(spec["batch"], rows)
    longest, every = (Period.of(each, rows, batch) for each in (given, spec["valid"]["every"]))
    return math.ceil(Fraction(longest.rows, longest.parts) / Fraction(every.rows, every.parts))


def _checkpoints(given: Mapping[str, Json] | None, rows: int, batch: int, first: int, last: int) -> tuple[int, ...]:
    """The steps of {"every": duration, "count": n}: the last one of each period, and never one after the end."""
    if given is None:
        return ()
    ((unit, amount),) = given["every"].items()
    size = Fraction(str(amount)) * {"epochs": Fraction(rows, batch), "steps": Fraction(1)}[unit]
    return tuple(min(last, first + max(1, math.ceil(size * number))) for number in range(1, given["count"] + 1))


def _term_names(players: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """The columns of the history, in the order that people expect: a total before its parts."""
    called = [player.get("name", str(number)) for number, player in enumerate(players)]
    for number, player in enumerate(players):
        prefix, shown = f"{number}.", f"{called[number]}."
        if len(players) == 1:
            prefix = shown = ""
        elif called.count(called[number]) > 1:
            shown = f"{called[number]}.{called[:number].count(called[number])}."
        names = [name for name, _ in player["loss"]["subs"][-1]["outputs"]]
        for name in dict.fromkeys(["loss", *(name for name in names if name and not name.startswith("@"))]):
            yield f"{prefix}{name}", f"{shown}{name}"
